"""HaN-Seg: eyes of two parts, masks on grids of their own, and an MR that is not registered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from clinical_images import placed
from nnunet_ext.dataset_conversion.Dataset507_HaNSeg import ALL
from public_datasets import (
    ORIENTATIONS,
    SIZE,
    cases_of,
    check_case,
    check_description,
    check_left_is_left,
    convert,
    dataset_of,
    drawn,
    note_codes,
    on,
    refusals,
    save,
    scan,
)

OPTIC = {"Eye_L": 1, "Eye_R": 2, "OpticNrv_L": 3, "OpticNrv_R": 4, "OpticChiasm": 5}
IGNORE = 6
TRUTH = drawn(2, 1, 5, 4, 3)
# The front of each eye is its first row of voxels; y runs to the back.
PARTS = {
    **{f"Eye_A{side}": (value, np.s_[:, 3:4]) for side, value in (("L", 1), ("R", 2))},
    **{f"Eye_P{side}": (value, np.s_[:, 4:]) for side, value in (("L", 1), ("R", 2))},
    "OpticNrv_L": (3, np.s_[:]),
    "OpticNrv_R": (4, np.s_[:]),
    "OpticChiasm": (5, np.s_[:]),
}


def mask_of(part: str) -> np.ndarray:
    value, rows = PARTS[part]
    mask = np.zeros(SIZE, np.uint8)
    mask[rows] = TRUTH[rows] == value
    return mask


def file_of(source: Path, number: int, what: str) -> Path:
    case = f"case_{number:02d}"
    return source / "set_1" / case / f"{case}_{what}"


def write(
    source: Path,
    number: int,
    *,
    without: tuple[str, ...] = (),
    axes: str = "LPS",
    spacing: tuple[float, ...] = (0.8, 0.9, 2.5),
) -> SimpleITK.Image:
    image = scan(number, spacing=spacing)
    save(image, file_of(source, number, "IMG_CT.nrrd"), axes=axes)
    moved = placed(np.full((4, 5, 6), 300, np.int16), spacing=(1, 1, 3), origin=(5, 5, 5))
    save(moved, file_of(source, number, "IMG_MR_T1.nrrd"))
    for part in PARTS:
        if part not in without:
            save(on(image, mask_of(part)), file_of(source, number, f"OAR_{part}.seg.nrrd"), axes=axes)
    save(on(image, np.ones(SIZE, np.uint8)), file_of(source, number, "OAR_Lips.seg.nrrd"), axes=axes)
    (source / "OAR_data.csv").write_text("")
    return image


def label_of(dataset: Path, case: str) -> Any:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(dataset / "labelsTr" / f"{case}.nii.gz")))


def test_parts_of_eyes_become_eyes_and_nothing_a_lens(tmp_path: Path) -> None:
    source, out = tmp_path / "HaN-Seg", tmp_path / "raw"
    images = {n: write(source, n, axes=axes) for n, axes in enumerate(ORIENTATIONS, start=1)}
    assert convert("hanseg", source, out) == 0
    dataset = dataset_of("hanseg", out)
    for number, image in images.items():
        check_case(dataset, f"case_{number:02d}", image, TRUTH)
        assert note_codes(dataset, f"case_{number:02d}") == []
    labels = {"background": 0, **OPTIC, "ignore": IGNORE}
    check_description(dataset, channels={"0": "CT"}, labels=labels, training=6)
    check_left_is_left(dataset)
    assert "lens" not in (dataset / "dataset.json").read_text().lower()


def test_all_organs_without_a_lens(tmp_path: Path) -> None:
    source, out = tmp_path / "HaN-Seg", tmp_path / "raw"
    image = write(source, 1)
    convert("hanseg", source, out, "--organs", "all")
    assert len(ALL) == len(set(ALL)) == 28  # 30 organs, of which four are the parts of two eyes (SPEC D6)
    assert not [name for name in ALL if "lens" in name.lower() or name.startswith(("Eye_A", "Eye_P"))]
    dataset = dataset_of("hanseg", out)
    content = json.loads((dataset / "dataset.json").read_text())
    assert list(content["labels"]) == ["background", *ALL, "ignore"]
    assert ["Cochlea_L", "Cochlea_R"] in content["laterality"]["pairs"]
    found = label_of(dataset, "case_01")
    for name, number in OPTIC.items():  # the lips are drawn everywhere, and stand before the small organs
        assert (found[number == TRUTH] == content["labels"][name]).all()
    assert (found[TRUTH == 0] == content["labels"]["Lips"]).all()
    assert image.GetSize() == SIZE[::-1]
    assert "overlap" in note_codes(dataset, "case_01")


def test_an_organ_without_a_file_is_ignored_where_it_may_be(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    big = (4.0, 4.0, 5.0)
    for number in range(1, 6):
        write(source, number, spacing=big)
    write(source, 19, without=("OpticChiasm",), spacing=big)
    assert convert("hanseg", source, out) == 0
    dataset = dataset_of("hanseg", out)
    found = label_of(dataset, "case_19")
    assert (found[TRUTH == 5] == IGNORE).all()
    rest = ~np.isin(TRUTH, (0, 5))
    np.testing.assert_array_equal(found[rest], TRUTH[rest])
    assert (found == 0).any()
    assert note_codes(dataset, "case_19") == ["undrawn"]
    check_description(
        dataset,
        channels={"0": "CT"},
        labels={"background": 0, **OPTIC, "ignore": IGNORE},
        training=6,
    )


def test_half_an_eye_is_no_eye(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    for number in range(1, 6):
        write(source, number)
    write(source, 6, without=("Eye_AR",))
    write(source, 7, without=("Eye_AR", "Eye_PR"))
    assert convert("hanseg", source, out) == 1
    dataset = dataset_of("hanseg", out)
    assert refusals(dataset) == {"case_06": "empty-label", "case_07": "empty-label"}
    reasons = [cases_of(dataset)[case]["reason"] for case in ("case_06", "case_07")]
    assert reasons[0] == "Eye_R: one of its two parts, Eye_AR and Eye_PR, has no file"
    assert reasons[1].startswith("Eye_R has no voxel")


def test_masks_of_four_axes_and_of_another_extent_are_pasted(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    images = {number: write(source, number) for number in range(1, 6)}
    image, nerve = images[1], mask_of("OpticNrv_L")
    four = SimpleITK.JoinSeries([on(image, nerve)])
    SimpleITK.WriteImage(four, str(file_of(source, 1, "OAR_OpticNrv_L.seg.nrrd")))
    # A part of the CT's grid, written in another orientation; and more than the CT on every side.
    eye = on(images[2], mask_of("Eye_PL"))
    save(eye[11:19, 2:9, 1:7], file_of(source, 2, "OAR_Eye_PL.seg.nrrd"), axes="RAS")
    chiasm = SimpleITK.ConstantPad(on(images[3], mask_of("OpticChiasm")), (3, 2, 1), (1, 2, 3), 0)
    save(chiasm, file_of(source, 3, "OAR_OpticChiasm.seg.nrrd"), axes="PIR")
    outside = SimpleITK.ConstantPad(on(images[4], mask_of("OpticChiasm")), (3, 2, 1), (1, 2, 3), 0)
    outside[0, 0, 0] = 1
    save(outside, file_of(source, 4, "OAR_OpticChiasm.seg.nrrd"))
    assert convert("hanseg", source, out) == 0
    dataset = dataset_of("hanseg", out)
    for number, expected in images.items():
        check_case(dataset, f"case_{number:02d}", expected, TRUTH)
        codes = ["mask-outside"] if number == 4 else []
        assert note_codes(dataset, f"case_{number:02d}") == codes
    assert "1 of its voxels lie beyond" in cases_of(dataset)["case_04"]["notes"][0]


def test_masks_with_other_voxels_are_refused_until_asked_for(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    images = {number: write(source, number) for number in range(1, 8)}
    for number, shift in ((6, 0.02), (7, 0.4)):  # of a voxel
        part = on(images[number], mask_of("OpticNrv_R"))[1:, 1:, :]
        part.SetOrigin(part.TransformContinuousIndexToPhysicalPoint((shift, 0, 0)))
        save(part, file_of(source, number, "OAR_OpticNrv_R.seg.nrrd"))
    assert convert("hanseg", source, out) == 1
    dataset = dataset_of("hanseg", out)
    assert refusals(dataset) == {"case_06": "label-grid", "case_07": "label-grid"}
    assert "--resample-masks" in cases_of(dataset)["case_06"]["remedy"]
    assert convert("hanseg", source, out, "--resample-masks") == 0
    for number, image in images.items():
        check_case(dataset, f"case_{number:02d}", image, TRUTH)
        codes = ["resampled-mask"] if number > 5 else []
        assert note_codes(dataset, f"case_{number:02d}") == codes


def test_the_mr_is_taken_only_where_it_is_registered(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    cts, mrs = {}, {}
    for number in range(1, 7):
        cts[number] = write(source, number)
        mrs[number] = on(cts[number], np.full(SIZE, 100 * number, np.int16))
        save(mrs[number], file_of(source, number, "IMG_MR_T1.nrrd"), axes="RAS")
    write(source, 7)
    write(source, 8)
    file_of(source, 8, "IMG_MR_T1.nrrd").unlink()
    moved = on(write(source, 9), np.full(SIZE, 9, np.int16))
    moved.SetOrigin([mm + 0.5 for mm in moved.GetOrigin()])
    save(moved, file_of(source, 9, "IMG_MR_T1.nrrd"))
    assert convert("hanseg", source, out, "--channels", "ct-t1") == 1
    dataset = dataset_of("hanseg", out)
    assert refusals(dataset) == {
        "case_07": "channel-grid",
        "case_08": "missing-channel",
        "case_09": "channel-grid",
    }
    assert "nnunet_ext prepare" in cases_of(dataset)["case_07"]["remedy"]
    for number, ct in cts.items():
        check_case(dataset, f"case_{number:02d}", ct, TRUTH)
        check_case(dataset, f"case_{number:02d}", mrs[number], TRUTH, channel=1)
    labels = {"background": 0, **OPTIC, "ignore": IGNORE}
    check_description(dataset, channels={"0": "CT", "1": "T1w"}, labels=labels, training=6)


def test_a_case_without_organs_or_ct_is_refused(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    for number in range(1, 8):
        write(source, number, without=tuple(PARTS) if number == 6 else ())
    file_of(source, 7, "IMG_CT.nrrd").unlink()
    assert convert("hanseg", source, out) == 1
    assert refusals(dataset_of("hanseg", out)) == {"case_06": "empty-label", "case_07": "missing-channel"}
