"""The verbs ``predict`` and ``export-model`` with both stages of a cascade."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from cascade_home import COARSE, FINE, CascadeHome, make_cascade_home, staged, use_home
from cascade_home import write_coarse_predictions as write_coarse

from nnunet_ext.cli.main import main
from nnunet_ext.inference import run as room

TRAINER = "nnUNetTrainerROICascade_1epochs_2iters"
VARIANT = "nnUNetTrainerROICascadeMAUNet_1epochs_2iters"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CascadeHome]:
    """Fold 0 of both stages, and of a variant that shares the coarse one."""
    home = make_cascade_home(tmp_path_factory.mktemp("cascade"), grid="anisotropic")
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_home(home.home, monkeypatch)
        torch.manual_seed(0)
        write_coarse(home, TRAINER)
        for trainer, configuration in ((TRAINER, COARSE), (TRAINER, FINE), (VARIANT, FINE)):
            training = staged(home, trainer, configuration)
            training.run_training()
            training.perform_actual_validation()
        yield home


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    real, threads = room.predict_cases, torch.get_num_threads()
    monkeypatch.setattr(room, "predict_cases", lambda *a, **k: real(*a, **{**k, "worker": False}))
    monkeypatch.setattr("nnunet_ext.inference.memory.keep_freed_memory", lambda: False)
    yield
    torch.set_num_threads(threads)


def predict(made: CascadeHome, output: Path, *options: Any, results: Path | None = None) -> int:
    model = (results or made.results.parent) / made.dataset / f"{TRAINER}__nnUNetPlans__{FINE}"
    chosen = ("-m", model) if "-d" not in options and "-m" not in options else ()
    images = () if "-i" in options else ("-i", made.home.root / "raw" / made.dataset / "imagesTr")
    common = ("-o", output, "--device", "cpu", "--threads", 1, "--no-pbar")
    return main(["predict", *map(str, (*images, *chosen, *common, *options))])


def labels_of(folder: Path) -> dict[str, np.ndarray]:
    files = sorted(folder.glob("*.nii.gz"))
    return {file.name: sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in files}


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys() != set()
    for name, labels in found.items():
        np.testing.assert_array_equal(labels, expected[name])


def test_by_nnunets_names_both_stages_run(
    made: CascadeHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnunetv2.utilities.file_path_utilities.nnUNet_results", str(made.results.parent))
    monkeypatch.setattr(
        "nnunetv2.utilities.file_path_utilities.maybe_convert_to_dataset_name", lambda d: made.dataset
    )
    report = tmp_path / "report.json"
    names = ("-d", 920, "-c", FINE, "-tr", TRAINER, "-f", 0, "--report", report)
    assert predict(made, tmp_path / "named", *names) == 0
    content = json.loads(report.read_text())
    assert [case["status"] for case in content["cases"]] == ["done"] * len(made.cases)
    assert content["settings"]["proposals"]["kind"] == "roi"
    assert content["settings"]["coarse"]["files"].keys() >= {"fold_0/checkpoint_final.pth"}
    assert predict(made, tmp_path / "by_folder") == 0
    assert_equal(labels_of(tmp_path / "named"), labels_of(tmp_path / "by_folder"))


def test_packed_and_installed_elsewhere_it_predicts_the_same(
    made: CascadeHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made.results / f"{TRAINER}__nnUNetPlans__{FINE}"
    assert main(["export-model", "-m", str(folder), "-o", str(tmp_path / "model.zip")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["parts"] == {"model": folder.name, "coarse": f"{TRAINER}__nnUNetPlans__{COARSE}"}
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "elsewhere"))
    assert main(["export-model", "--install", str(tmp_path / "model.zip")]) == 0
    assert predict(made, tmp_path / "here") == 0
    assert predict(made, tmp_path / "there", results=tmp_path / "elsewhere") == 0
    assert_equal(labels_of(tmp_path / "there"), labels_of(tmp_path / "here"))


def test_labels_lie_where_the_image_lies(made: CascadeHome, tmp_path: Path) -> None:
    """SPEC F.18: windows are put back into the image's own grid, which may be oblique."""
    plain = sitk.ReadImage(str(made.home.root / "raw" / made.dataset / "imagesTr" / "case_0_0000.nii.gz"))
    oblique = sitk.Image(plain)
    oblique.SetOrigin((12.5, -40.25, 7.0))
    oblique.SetDirection((0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0))
    for name, image in (("plain", plain), ("oblique", oblique)):
        (tmp_path / name).mkdir()
        sitk.WriteImage(image, str(tmp_path / name / "case_0_0000.nii.gz"))
        assert predict(made, tmp_path / f"of {name}", "-i", tmp_path / name) == 0
    image, written = (
        sitk.ReadImage(str(tmp_path / name))
        for name in ("oblique/case_0_0000.nii.gz", "of oblique/case_0.nii.gz")
    )
    assert written.GetSize() == image.GetSize()
    for what in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(written, what)() == pytest.approx(getattr(image, what)(), abs=1e-5), what
    assert_equal(labels_of(tmp_path / "of oblique"), labels_of(tmp_path / "of plain"))


def test_a_variant_predicts_with_the_coarse_model_it_was_trained_on(
    made: CascadeHome, tmp_path: Path
) -> None:
    model = made.results / f"{VARIANT}__nnUNetPlans__{FINE}"
    report = tmp_path / "report.json"
    assert predict(made, tmp_path / "out", "-m", model, "--report", report) == 0
    used = json.loads(report.read_text())["settings"]["coarse"]["files"]
    assert predict(made, tmp_path / "other", "--report", report) == 0
    assert json.loads(report.read_text())["settings"]["coarse"]["files"] == used


def test_a_coarse_model_that_lies_elsewhere_is_named(
    made: CascadeHome, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fine, coarse = (f"{TRAINER}__nnUNetPlans__{stage}" for stage in (FINE, COARSE))
    shutil.copytree(made.results / fine, tmp_path / "fine")
    assert predict(made, tmp_path / "out", "-m", tmp_path / "fine") == 2
    assert "--coarse-model" in caplog.text
    assert (
        predict(made, tmp_path / "out", "-m", tmp_path / "fine", "--coarse-model", made.results / coarse) == 0
    )


def test_a_bad_case_fails_alone_and_a_second_run_does_the_rest(made: CascadeHome, tmp_path: Path) -> None:
    images = tmp_path / "in"
    shutil.copytree(made.home.root / "raw" / made.dataset / "imagesTr", images)
    bad = images / "case_1_0000.nii.gz"
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    report = tmp_path / "report.json"
    assert predict(made, tmp_path / "out", "-i", images, "--report", report) == 1
    status = {c["name"]: c["status"] for c in json.loads(report.read_text())["cases"]}
    assert status == {name: "failed" if name == "case_1" else "done" for name in made.cases}
    bad.write_bytes(whole)
    assert predict(made, tmp_path / "out", "-i", images, "--report", report) == 0
    status = {c["name"]: c["status"] for c in json.loads(report.read_text())["cases"]}
    assert status == {name: "done" if name == "case_1" else "skipped" for name in made.cases}
    # What decides about the result is compared: other proposals are another result.
    assert predict(made, tmp_path / "out", "-i", images, "--everywhere") == 2


def test_predictions_of_the_first_stage_may_be_given(made: CascadeHome, tmp_path: Path) -> None:
    """As stock nnU-Net does it: a sliding window over everything."""
    images = made.home.root / "raw" / made.dataset / "labelsTr"
    assert predict(made, tmp_path / "out", "--prev-stage-predictions", images) == 0
    assert len(labels_of(tmp_path / "out")) == len(made.cases)


def test_windows_are_merged_as_asked_for(made: CascadeHome, tmp_path: Path) -> None:
    report = tmp_path / "report.json"

    def merged_as(name: str, *options: str) -> str:
        assert predict(made, tmp_path / name, "--report", report, *options) == 0
        return str(json.loads(report.read_text())["settings"]["merge"])

    assert merged_as("as trained") == "gaussian"
    assert merged_as("the same", "--merge", "gaussian") == "gaussian"
    assert merged_as("other", "--merge", "maximum") == "maximum"
    assert_equal(labels_of(tmp_path / "as trained"), labels_of(tmp_path / "the same"))
    # Another merge is another result.
    assert predict(made, tmp_path / "other") == 2


@pytest.mark.parametrize(
    "options",
    [
        ("--prev-stage-predictions", "x", "--coarse-folds", "0"),
        ("--prev-stage-predictions", "x", "--merge", "maximum"),
        ("--everywhere", "--on-empty", "fail"),
        ("--everywhere", "--merge", "maximum"),
    ],
    ids=" ".join,
)
def test_options_that_would_do_nothing_are_refused(
    made: CascadeHome, tmp_path: Path, options: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    assert predict(made, tmp_path / "out", *options) == 2
    assert f"leave {options[-2]} out" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "/no/such/model", "-o", "x.zip"], "expected dataset.json"),
        (["-m", "/no/such/model"], "expected -o FILE"),
        (["--install", "/no/such.zip", "-o", "x.zip"], "takes a file and no model"),
        (["--install", "/no/such.zip"], "No such file"),
    ],
)
def test_export_model_says_what_is_wrong(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    assert main(["export-model", *arguments]) == 2
    assert message in caplog.text
