"""Applied to folders: what changes, what is refused, what a second run does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refinement_home import SHAPES, RefinementHome, read, write_probabilities

from nnunet_ext.inference.records import OtherResultsError
from nnunet_ext.refinement import apply as room
from nnunet_ext.refinement.apply import ApplyReport, apply_refiner
from nnunet_ext.refinement.case import agreed
from nnunet_ext.refinement.folder import Refiner, RefinerError, load_refiner

HomeOf = Callable[..., RefinementHome]
RefinerOf = Callable[..., Refiner]
UNSEEN = ("unseen_0", "unseen_1")


def predicted(home: RefinementHome, folder: Path, *, wrong: bool = True) -> Path:
    """A folder as ``nnUNetv2_predict --save_probabilities`` leaves it, of patients that nobody has seen."""
    for number, name in enumerate(UNSEEN):
        write_probabilities(
            home,
            name,
            seed=100 + number,
            folder=folder / "predicted",
            references=folder / "references",
            wrong=wrong,
        )
    for name in ("dataset.json", "plans.json"):
        shutil.copy(home.model / name, folder / "predicted")
    return folder / "predicted"


def applied(refiner: Refiner, source: Path, output: Path, **options: Any) -> ApplyReport:
    return apply_refiner(refiner, source, output=output, **options)


def dice(prediction: Path, reference: Path) -> float:
    p, r = read(prediction), read(reference)
    counts = r != 3
    return float(
        np.mean(
            [
                2 * ((p == v) & (r == v) & counts).sum() / (((p == v) & counts).sum() + (r == v).sum())
                for v in (1, 2)
            ]
        )
    )


@pytest.mark.parametrize(
    ("labels", "shape"),
    [("plain", "anisotropic"), ("plain", "transposed"), ("ignore", "isotropic"), ("regions", "resampled")],
)
def test_planted_confusions_are_corrected(
    home_of: HomeOf, refiner_of: RefinerOf, labels: str, shape: str, tmp_path: Path
) -> None:
    source = predicted(home_of(labels, shape), tmp_path)
    refiner = refiner_of(labels, shape)
    # The whole region, of which the network is right, pays for the core in this short training.
    assert refiner.gains(everywhere=False) is (labels != "regions")
    report = applied(refiner, source, tmp_path / "out", force=labels == "regions")
    assert [case.status for case in report.cases] == ["done", "done"]
    for case in report.cases:
        file = f"{case.name}.nii.gz"
        before = dice(source / file, tmp_path / "references" / file)
        after = dice(tmp_path / "out" / file, tmp_path / "references" / file)
        assert after > before + 0.05
        first, refined = read(source / file), read(tmp_path / "out" / file)
        changed = (first != refined).sum()
        assert case.changes is not None
        assert case.changes.voxels == changed
        assert case.changes.unsure_voxels >= changed
        core = case.changes.structures["core"]
        assert core.gained == ((refined == 2) & (first != 2)).sum() > 0
        assert core.lost == ((refined != 2) & (first == 2)).sum() > 0


def test_only_regions_of_which_the_network_was_unsure_change(
    home_of: HomeOf, refiner_of: RefinerOf, tmp_path: Path
) -> None:
    """Though another region of the same voxel does."""
    source = predicted(home_of("regions", "resampled"), tmp_path)
    refiner = refiner_of("regions", "resampled")
    applied(refiner, source, tmp_path / "out", probabilities=True, force=True)
    for name in UNSEEN:
        with np.load(source / f"{name}.npz") as first, np.load(tmp_path / "out" / f"{name}.npz") as refined:
            before, after = first["probabilities"], refined["probabilities"]
        sure = np.maximum(before, 1 - before) >= refiner.threshold(everywhere=False)
        np.testing.assert_array_equal(after[sure], before[sure])
        assert (sure[0] & ~sure[1]).any()
        assert (after[~sure] != before[~sure]).mean() > 0.5


def test_only_voxels_of_which_the_network_was_unsure_change(
    home_of: HomeOf, refiner_of: RefinerOf, tmp_path: Path
) -> None:
    source = predicted(home_of("plain", "transposed"), tmp_path)
    refiner = refiner_of("plain", "transposed")
    applied(refiner, source, tmp_path / "out", probabilities=True)
    threshold = refiner.threshold(everywhere=False)
    for name in UNSEEN:
        with np.load(source / f"{name}.npz") as first, np.load(tmp_path / "out" / f"{name}.npz") as refined:
            before, after = first["probabilities"], refined["probabilities"]
        sure = before.max(0) >= threshold
        np.testing.assert_array_equal(after[:, sure], before[:, sure])
        np.testing.assert_allclose(after.sum(0), 1, atol=1e-4)
        np.testing.assert_array_equal(read(tmp_path / "out" / f"{name}.nii.gz"), after.argmax(0))
        assert (tmp_path / "out" / f"{name}.pkl").is_file()


@pytest.mark.parametrize("has_regions", [False, True])
def test_a_label_changes_where_the_refiner_is_the_surer_one(has_regions: bool) -> None:
    first, refined = np.array([0.7, 0.3]), np.array([[0.4, 0.2, 1.0], [0.6, 0.8, 0.0]])
    found = agreed(np.stack([first] * 3, axis=1), refined, has_regions=has_regions)
    assert (found[0] > 0.5).tolist() == [True, False, True]
    np.testing.assert_allclose(found.sum(0), 1)
    sure = np.array([[1.0], [0.0]])
    assert np.isfinite(agreed(sure, sure[::-1], has_regions=has_regions)).all()


def test_everywhere_changes_more(home_of: HomeOf, refiner_of: RefinerOf, tmp_path: Path) -> None:
    source = predicted(home_of(), tmp_path)
    few = applied(refiner_of(), source, tmp_path / "few", probabilities=True)
    everywhere = applied(refiner_of(), source, tmp_path / "all", probabilities=True, everywhere=True)
    for one, other in zip(few.cases, everywhere.cases, strict=True):
        assert one.changes is not None
        assert other.changes is not None
        assert one.changes.unsure_voxels < other.changes.unsure_voxels
    with np.load(tmp_path / "few" / "unseen_0.npz") as a, np.load(tmp_path / "all" / "unseen_0.npz") as b:
        assert (a["probabilities"] != b["probabilities"]).any()


def test_a_network_that_errs_nowhere_is_left_alone(
    home_of: HomeOf, refiner_of: RefinerOf, tmp_path: Path
) -> None:
    source = predicted(home_of(), tmp_path, wrong=False)
    applied(refiner_of(), source, tmp_path / "out")
    for name in UNSEEN:
        reference = tmp_path / "references" / f"{name}.nii.gz"
        before, after = (dice(f / f"{name}.nii.gz", reference) for f in (source, tmp_path / "out"))
        assert after > before - 0.002


def test_a_refiner_that_does_not_gain_changes_nothing_unless_forced(
    home_of: HomeOf, refiner_of: RefinerOf, tmp_path: Path
) -> None:
    source = predicted(home_of(), tmp_path)
    shutil.copytree(refiner_of().folder, tmp_path / "refiner")
    file = tmp_path / "refiner" / "refiner.json"
    description = json.loads(file.read_text())
    description["held_out"]["unsure"]["gains"] = False
    file.write_text(json.dumps(description))
    refiner = load_refiner(tmp_path / "refiner")
    report = applied(refiner, source, tmp_path / "out", probabilities=True)
    assert not report.refined
    for name in UNSEEN:
        np.testing.assert_array_equal(
            read(source / f"{name}.nii.gz"), read(tmp_path / "out" / f"{name}.nii.gz")
        )
        with np.load(source / f"{name}.npz") as first, np.load(tmp_path / "out" / f"{name}.npz") as second:
            np.testing.assert_array_equal(first["probabilities"], second["probabilities"])
    assert all(case.changes is not None and case.changes.voxels == 0 for case in report.cases)
    forced = applied(refiner, source, tmp_path / "forced", force=True)
    assert forced.refined
    assert all(case.changes is not None and case.changes.voxels > 0 for case in forced.cases)
    with pytest.raises(OtherResultsError, match="predicted with another model or other settings"):
        applied(refiner, source, tmp_path / "out", force=True)


def test_the_geometry_is_the_images(home_of: HomeOf, refiner_of: RefinerOf, tmp_path: Path) -> None:
    import SimpleITK as sitk

    home = home_of("plain", "transposed")
    applied(refiner_of("plain", "transposed"), predicted(home, tmp_path), tmp_path / "out")
    image = sitk.ReadImage(str(home.root / "images" / "unseen_0_0000.nii.gz"))
    found = sitk.ReadImage(str(tmp_path / "out" / "unseen_0.nii.gz"))
    for one, other in (
        (found.GetSize(), image.GetSize()),
        (found.GetSpacing(), image.GetSpacing()),
        (found.GetOrigin(), image.GetOrigin()),
        (found.GetDirection(), image.GetDirection()),
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    assert tuple(SHAPES["transposed"].spacing_mm[::-1]) == pytest.approx(found.GetSpacing())


def test_a_bad_case_fails_alone_and_a_second_run_does_the_rest(
    home_of: HomeOf, refiner_of: RefinerOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = predicted(home_of(), tmp_path)
    whole = (source / "unseen_0.npz").read_bytes()
    (source / "unseen_0.npz").write_bytes(whole[:-200])
    report = applied(refiner_of(), source, tmp_path / "out")
    assert {case.name: case.status for case in report.cases} == {"unseen_0": "failed", "unseen_1": "done"}
    assert "cannot be read" in report.failed[0].reason
    assert not (tmp_path / "out" / "unseen_0.nii.gz").exists()
    written = json.loads((tmp_path / "out" / "refinement_ext.json").read_text())
    assert [case["status"] for case in written["cases"]] == ["failed", "done"]

    (source / "unseen_0.npz").write_bytes(whole)
    stamp = (tmp_path / "out" / "unseen_1.nii.gz").stat().st_mtime_ns
    again = applied(refiner_of(), source, tmp_path / "out")
    assert [case.status for case in again.cases] == ["done", "skipped"]
    assert again.cases[1].changes == report.cases[1].changes
    assert (tmp_path / "out" / "unseen_1.nii.gz").stat().st_mtime_ns == stamp
    applied(refiner_of(), source, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "unseen_1.nii.gz").stat().st_mtime_ns > stamp

    def out_of_memory(*arguments: Any, **options: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(room, "refine_case", out_of_memory)
    failed = applied(refiner_of(), source, tmp_path / "third")
    assert [case.reason for case in failed.failed] == ["memory ran out (no room)"] * 2
    assert not list((tmp_path / "third").glob("*.nii.gz"))


def change(name: str, edit: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def spoil(source: Path) -> None:
        content = json.loads((source / name).read_text())
        edit(content)
        (source / name).write_text(json.dumps(content))

    return spoil


def other_order(content: dict[str, Any]) -> None:
    content["labels"] = {"background": 0, "core": 1, "shell": 2}


def other_spacing(content: dict[str, Any]) -> None:
    content["configurations"]["tiny"]["spacing"] = [1.0, 1.0, 1.0]


def other_axes(content: dict[str, Any]) -> None:
    content["transpose_forward"] = [1, 0, 2]


def no_configuration(content: dict[str, Any]) -> None:
    content["configurations"]["3d_fullres"] = content["configurations"].pop("tiny")


def our_record(source: Path, settings: dict[str, Any]) -> None:
    (source / "predictions_ext.json").write_text(
        json.dumps({"cases": {"unseen_0": {"settings": settings, "images": {}}}})
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change("dataset.json", other_order), r"does not go with the probabilities.*labels: expected"),
        (change("plans.json", other_spacing), r"spacing mm: expected \[2.0, 1.0, 1.0\], got \[1.0"),
        (change("plans.json", other_axes), r"transpose forward: expected \[0, 1, 2\], got \[1, 0, 2\]"),
        (
            change("plans.json", lambda c: c.__setitem__("dataset_name", "Dataset991_other")),
            "dataset name: expected Dataset990_tiny, got Dataset991_other",
        ),
        (
            change("plans.json", lambda c: c.__setitem__("plans_name", "nnUNetResEncUNetMPlans")),
            "plans name: expected nnUNetPlans, got nnUNetResEncUNetMPlans",
        ),
        (
            change("plans.json", lambda c: c["configurations"]["tiny"].__setitem__("patch_size", [8, 8, 8])),
            "tiny of nnUNetPlans was planned otherwise",
        ),
        (change("plans.json", no_configuration), r"expected one of 3d_fullres, got 'tiny'"),
        (lambda source: (source / "dataset.json").unlink(), r"expected dataset\.json"),
        (
            lambda source: our_record(source, {"files": {"fold_0/checkpoint_final.pth": "0"}}),
            r"was trained on the errors of nnUNetTrainer tiny .*differs in fold_0/checkpoint_final\.pth",
        ),
        (
            lambda source: our_record(source, {"files": {}, "refiner": {"weights_sha256": "0"}}),
            "are refined already",
        ),
    ],
)
def test_probabilities_of_another_model_are_refused(
    home_of: HomeOf, refiner_of: RefinerOf, spoil: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    source = predicted(home_of(), tmp_path)
    spoil(source)
    with pytest.raises(RefinerError, match=message):
        applied(refiner_of(), source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_order_of_regions_is_refused(home_of: HomeOf, refiner_of: RefinerOf, tmp_path: Path) -> None:
    source = predicted(home_of("regions", "resampled"), tmp_path)
    change("dataset.json", lambda c: c.__setitem__("regions_class_order", [2, 1]))(source)
    with pytest.raises(RefinerError, match=r"regions class order: expected \[1, 2\], got \[2, 1\]"):
        applied(refiner_of("regions", "resampled"), source, tmp_path / "out")


def test_an_ensembles_folder_needs_no_plans(home_of: HomeOf, refiner_of: RefinerOf, tmp_path: Path) -> None:
    source = predicted(home_of(), tmp_path)
    (source / "plans.json").unlink()
    report = applied(refiner_of(), source, tmp_path / "out")
    assert [case.status for case in report.cases] == ["done", "done"]
    assert not report.source_known


def test_a_label_map_alone_fails_by_name(home_of: HomeOf, refiner_of: RefinerOf, tmp_path: Path) -> None:
    source = predicted(home_of(), tmp_path)
    (source / "unseen_1.npz").unlink()
    report = applied(refiner_of(), source, tmp_path / "out")
    assert [(case.name, case.status) for case in report.cases] == [
        ("unseen_0", "done"),
        ("unseen_1", "failed"),
    ]
    assert report.failed[0].reason == "no unseen_1.npz beside its label map"


def test_folders_without_probabilities_or_of_the_same_name_are_refused(
    home_of: HomeOf, refiner_of: RefinerOf, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="found none: predict with --save_probabilities"):
        applied(refiner_of(), tmp_path, tmp_path / "out")
    source = predicted(home_of(), tmp_path)
    with pytest.raises(ValueError, match="whose label maps would be lost"):
        applied(refiner_of(), source, source)


def test_a_damaged_refiner_is_refused(refiner_of: RefinerOf, tmp_path: Path) -> None:
    shutil.copytree(refiner_of().folder, tmp_path / "refiner")
    folder = tmp_path / "refiner"
    weights = (folder / "refiner.safetensors").read_bytes()
    (folder / "refiner.safetensors").write_bytes(weights[:-8] + b"damaged!")
    with pytest.raises(RefinerError, match="is not what was trained"):
        load_refiner(folder)
    (folder / "refiner.safetensors").write_bytes(weights)
    change("refiner.json", lambda c: c.__setitem__("spacing_mm", [3, 3, 3]))(folder)
    with pytest.raises(RefinerError, match="does not go with its own plans"):
        load_refiner(folder)
    change("refiner.json", lambda c: c.__setitem__("format", 2))(folder)
    with pytest.raises(RefinerError, match="expected a refiner of format 1"):
        load_refiner(folder)
    (folder / "refiner.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        load_refiner(folder)
    (folder / "refiner.safetensors").unlink()
    with pytest.raises(RefinerError, match=r"found no refiner\.safetensors"):
        load_refiner(folder)


def test_what_the_folder_says(home_of: HomeOf, refiner_of: RefinerOf) -> None:
    said = json.loads((refiner_of("regions", "resampled").folder / "refiner.json").read_text())
    assert said["labels"] == {"background": 0, "whole": [1, 2], "core": [2]}
    assert said["regions_class_order"] == [1, 2]
    assert said["spacing_mm"] == [2.0, 1.0, 1.0]
    assert said["source"]["trainer"] == "nnUNetTrainer"
    assert said["source"]["sha256"].keys() >= {"plans.json", "dataset.json", "fold_2/checkpoint_final.pth"}
    assert {"nnunet_ext", "nnunetv2", "torch"} <= said["versions"].keys()
    assert said["held_out"]["unsure"]["mean"]["cases"] == 6
    assert said["settings"]["seed"] == 0
