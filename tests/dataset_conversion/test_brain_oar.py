"""CT, two MR that lie elsewhere, and contours: three channels on one grid, seven organs in place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

from nnunet_ext.cli.main import main
from nnunet_ext.clinical_io.dicom_folder import find_dicom
from nnunet_ext.clinical_io.dicom_series import read_series
from nnunet_ext.clinical_io.dicom_writer import SeriesIdentity, save_slices, slices_of_volume
from nnunet_ext.clinical_io.structure_set_writer import NamedMask, write_structure_set
from nnunet_ext.phantoms.brain_oar import Acquisition, make_brain_oar
from nnunet_ext.phantoms.phantom import Channel, Patient
from nnunet_ext.phantoms.rigid import RigidMotion
from nnunet_ext.preparation import Preparation, write_preparation

NAME = "Dataset514_BrainOAR"
SIZE = (24, 64, 64)
SHIFT_MM = (3.0, -4.0, 5.0)
IGNORE = 8


def as_image(channel: Channel) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(channel.image)
    image.SetSpacing(channel.spacing_mm[::-1])
    image.SetOrigin(channel.origin_mm[::-1])
    return image


def write_series(folder: Path, channel: Channel, *, seed: int, description: str) -> None:
    identity = SeriesIdentity.from_seed(
        "head",
        modality="CT" if channel.name == "CT" else "MR",
        patient_id=f"patient-{seed}",
        patient_name="Doe",
        description=description,
    )
    save_slices(slices_of_volume(as_image(channel), identity), folder)


def write_patient(folder: Path, patient: Patient, *, without: tuple[str, ...] = ()) -> None:
    for channel in patient.channels:
        description = f"{channel.name[:2]} axial"
        write_series(folder / channel.name, channel, seed=patient.seed, description=description)
    volume = read_series(find_dicom(folder / "CT").series[0])
    masks = [
        NamedMask(name, patient.mask(name), (9, 9, 9))
        for name in patient.labels
        if name != "background" and name not in without
    ]
    write_structure_set(masks, volume, path=folder / "RS.dcm", label="plan")


def convert(source: Path, out: Path, *more: str) -> dict[str, dict[str, Any]]:
    arguments = ["--dataset-id", "514", "--out", str(out), "--key", str(out / "key.json"), "--no-pbar"]
    assert main(["convert", "brain-oar", str(source), *arguments, *more]) == 1  # two give no five splits
    report: dict[str, dict[str, Any]] = json.loads((out / NAME / "conversion_report.json").read_text())
    return report["cases"]


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Patient]]:
    """The second lies elsewhere in the MR scanner; its chiasm was not drawn."""
    folder = tmp_path_factory.mktemp("clinic")
    motion = RigidMotion(turn_deg=(0, 0, 0), shift_mm=SHIFT_MM, center_mm=(0, 0, 0))
    moved = Acquisition(size_vox=SIZE, spacing_mm=(5.0, 4.0, 4.0), motion=motion)
    patients = [
        make_brain_oar(seed=1, size_vox=SIZE),
        make_brain_oar(seed=2, size_vox=SIZE, mr_acquisitions={"T1w": moved, "T2w": moved}),
    ]
    write_patient(folder / "a", patients[0])
    write_patient(folder / "b", patients[1], without=("OpticChiasm",))
    return folder, patients


def read(file: Path) -> np.ndarray:
    array: np.ndarray = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
    return array


def test_channels_come_onto_one_grid_and_organs_stay_in_place(
    clinic: tuple[Path, list[Patient]], tmp_path: Path
) -> None:
    source, patients = clinic
    report = convert(source, tmp_path)
    dataset = tmp_path / NAME
    assert [entry["status"] for entry in report.values()] == ["written", "written"]
    for number, patient in enumerate(patients, start=1):
        found = read(dataset / "labelsTr" / f"BrainOAR_{number:03d}.nii.gz")
        expected = patient.label.copy()
        if number == 2:
            ignored = found == IGNORE
            assert ignored.any()  # where the first one's chiasm lies
            assert set(np.unique(patient.label[ignored])) <= {0, patient.labels["OpticChiasm"]}
            expected[patient.mask("OpticChiasm")] = 0
            expected[ignored] = IGNORE
        np.testing.assert_array_equal(found, expected)
    description = json.loads((dataset / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "CT", "1": "T1w", "2": "T2w"}
    assert description["labels"]["ignore"] == IGNORE
    assert description["laterality"]["pairs"][0] == ["Eye_L", "Eye_R"]
    assert (dataset / "preparation.json").exists()
    verify_dataset_integrity(str(dataset), num_processes=1)
    # The moved MR lies on the CT again, and the report says how far it was off.
    straight = make_brain_oar(seed=2, size_vox=SIZE)
    body = straight.channel("CT").image > -300
    steps = [s for s in report["BrainOAR_002"]["preparation"] if s["step"] == "register"]
    for number, (name, step) in enumerate(zip(("T1w", "T2w"), steps, strict=True), start=1):
        assert step["information_after"] > step["information_before"]
        assert step["displacement_mm"] == pytest.approx(np.linalg.norm(SHIFT_MM), abs=2.5)
        moved = read(dataset / "imagesTr" / f"BrainOAR_002_{number:04d}.nii.gz").astype(float)
        reference = straight.channel(name).image.astype(float)
        assert np.corrcoef(moved[body], reference[body])[0, 1] > 0.75


def test_other_steps_are_taken_when_asked_and_unregistered_mr_is_then_refused(
    clinic: tuple[Path, list[Patient]], tmp_path: Path
) -> None:
    steps = tmp_path / "steps.json"
    write_preparation(Preparation(channels=("CT", "T1w", "T2w"), label_channel="CT", steps=()), steps)
    report = convert(clinic[0], tmp_path, "--preparation", str(steps))
    assert report["BrainOAR_001"]["status"] == "written"
    assert report["BrainOAR_002"]["code"] == "channel-grid"


def test_of_several_ct_of_a_new_patient_the_user_says_which(
    clinic: tuple[Path, list[Patient]], tmp_path: Path
) -> None:
    steps = tmp_path / "steps.json"
    write_preparation(Preparation(channels=("CT", "T1w", "T2w"), label_channel="CT", steps=()), steps)
    convert(clinic[0], tmp_path, "--preparation", str(steps))
    new = tmp_path / "new" / "a"
    write_patient(new, clinic[1][0])
    write_series(new / "again", clinic[1][0].channel("CT"), seed=clinic[1][0].seed, description="bones")
    like = ["--like", str(tmp_path / NAME), "--key", str(tmp_path / "key.json"), "--no-pbar"]
    assert main(["convert", "brain-oar", str(new.parent), *like]) == 1
    report = json.loads((tmp_path / NAME / "conversion_report_imagesTs.json").read_text())["cases"]
    assert report["BrainOAR_003"]["code"] == "mixed-series"
    assert main(["convert", "brain-oar", str(new.parent), *like, "--series", "ct"]) == 0


@pytest.mark.parametrize("option", ["--t1", "--t2"])
@pytest.mark.parametrize("word", ["MPRAGE", "axial"])  # in none, and in both
def test_mr_are_told_apart_by_their_description_or_not_at_all(
    clinic: tuple[Path, list[Patient]], tmp_path: Path, option: str, word: str
) -> None:
    report = convert(clinic[0], tmp_path, option, word)
    assert {entry["code"] for entry in report.values()} == {"missing-channel"}
