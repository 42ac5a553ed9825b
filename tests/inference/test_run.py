"""Runs: bad cases fail alone, finished ones are skipped, nothing is half-written or of another model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from tiny_models import Tiny, write_case

from nnunet_ext.inference import run as room
from nnunet_ext.inference.cases import CaseFiles, Preparation, find_cases
from nnunet_ext.inference.memory import peak_memory_mib
from nnunet_ext.inference.model import load_model
from nnunet_ext.inference.predictor import Settings, SlidingWindowPredictor
from nnunet_ext.inference.records import NAME, OtherResultsError
from nnunet_ext.inference.report import RunReport
from nnunet_ext.inference.run import predict_cases
from nnunet_ext.inference.work_folder import FolderInUseError, work_folder
from nnunet_ext.inference.worker import PreparationWorker

ModelFolder = Callable[[Tiny], Path]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a", "b", "c")):
        write_case(tmp_path / "in", name, seed=seed, shape=(10, 20, 18))
    return tmp_path / "in"


@pytest.fixture
def predictor(model_folder: ModelFolder) -> SlidingWindowPredictor:
    return SlidingWindowPredictor(load_model(model_folder(Tiny())))


def predict(predictor: Any, images: Path | Sequence[Path], output: Path, **options: Any) -> RunReport:
    cases = find_cases(images, file_ending=".nii.gz")
    return predict_cases(predictor, cases, output=output, **{"worker": False, **options})


def statuses(report: RunReport) -> dict[str, str]:
    return {case.name: case.status for case in report.cases}


def test_the_folder_is_what_nnunets_other_commands_want(
    predictor: SlidingWindowPredictor, images: Path, tmp_path: Path
) -> None:
    report = predict(predictor, images, tmp_path / "out", arguments={"i": "in"})
    assert statuses(report) == {"a": "done", "b": "done", "c": "done"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        *("a.nii.gz", "b.nii.gz", "c.nii.gz"),
        *("dataset.json", "plans.json", "predict_from_raw_data_args.json", NAME),
    }
    for name in ("dataset.json", "plans.json"):
        written, own = (
            json.loads((f / name).read_text()) for f in (tmp_path / "out", predictor.model.folder)
        )
        assert written == own
    for case in report.cases:
        assert set(case.seconds) == {"preprocessing", "network", "resampling", "export"}
        assert case.tiles > 0
    json.dumps(report.as_dict())


def test_bad_cases_fail_alone_with_name_and_reason(
    predictor: SlidingWindowPredictor, images: Path, tmp_path: Path
) -> None:
    file = images / "b_0000.nii.gz"
    file.write_bytes(file.read_bytes()[:-200])  # which SimpleITK reads as if nothing were missing
    image = sitk.ReadImage(str(images / "c_0000.nii.gz"))
    (images / "d_0000.nii.gz").write_bytes(b"not an image")
    sitk.WriteImage(image, str(images / "e_0001.nii.gz"))
    sitk.WriteImage(image, str(images / "without_number.nii.gz"))
    report = predict(predictor, images, tmp_path / "out")
    assert {n for n, s in statuses(report).items() if s == "done"} == {"a", "c", "without_number"}
    reasons = {case.name: case.reason for case in report.failed}
    assert set(reasons) == {"b", "d", "e"}
    assert "cut off or damaged" in reasons["b"]
    assert "cut off or damaged" in reasons["d"]
    assert "expected 1 file(s), one for each channel: e_0000.nii.gz; got e_0001.nii.gz" in reasons["e"]
    assert all(case.remedy for case in report.failed)
    assert sorted(p.name for p in (tmp_path / "out").glob("*.nii.gz")) == [
        *("a.nii.gz", "c.nii.gz", "without_number.nii.gz"),
    ]


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_files_of_other_formats_that_are_cut_off_fail(
    ending: str, model_folder: ModelFolder, tmp_path: Path
) -> None:
    predictor = SlidingWindowPredictor(load_model(model_folder(Tiny(file_ending=ending))))
    files = [write_case(tmp_path, name, ending=ending)[0] for name in ("a", "b")]
    files[1].write_bytes(files[1].read_bytes()[:-500])
    cases = find_cases(tmp_path, file_ending=ending)
    report = predict_cases(predictor, cases, output=tmp_path / "out", worker=False)
    assert statuses(report) == {"a": "done", "b": "failed"}


def test_an_image_with_nan_fails(model_folder: ModelFolder, tmp_path: Path) -> None:
    predictor = SlidingWindowPredictor(load_model(model_folder(Tiny(file_ending=".mha"))))
    (file,) = write_case(tmp_path, "a", ending=".mha")
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    array[3, 3, 3] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(array), str(file))
    (case,) = find_cases(tmp_path, file_ending=".mha")
    report = predict_cases(predictor, [case], output=tmp_path / "out", worker=False)
    assert "nan or infinity" in report.failed[0].reason


def test_a_missing_or_misfitting_channel_fails_its_case(model_folder: ModelFolder, tmp_path: Path) -> None:
    predictor = SlidingWindowPredictor(load_model(model_folder(Tiny(channels=2))))
    for name in ("a", "b", "c"):
        write_case(tmp_path / "in", name, channels=2)
    (tmp_path / "in" / "b_0001.nii.gz").unlink()
    write_case(tmp_path / "in", "c", channels=1, shape=(14, 30, 27))
    report = predict(predictor, tmp_path / "in", tmp_path / "out")
    assert statuses(report) == {"a": "done", "b": "failed", "c": "failed"}
    assert "b_0000.nii.gz, b_0001.nii.gz; got b_0000.nii.gz" in report.failed[0].reason
    assert "same shape" in report.failed[1].reason


def test_finished_cases_are_skipped_and_missing_ones_done(
    predictor: SlidingWindowPredictor, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(predictor, images, out)
    before = (out / "a.nii.gz").stat().st_mtime_ns
    (out / "b.nii.gz").unlink()
    report = predict(predictor, images, out)
    assert statuses(report) == {"a": "skipped", "b": "done", "c": "skipped"}
    assert (out / "a.nii.gz").stat().st_mtime_ns == before
    assert statuses(predict(predictor, images, out, overwrite=True)) == dict.fromkeys("abc", "done")


def test_a_case_without_its_probabilities_is_not_finished(
    predictor: SlidingWindowPredictor, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(predictor, images, out)
    assert statuses(predict(predictor, images, out, probabilities=True)) == dict.fromkeys("abc", "done")
    assert statuses(predict(predictor, images, out, probabilities=True)) == dict.fromkeys("abc", "skipped")
    assert statuses(predict(predictor, images, out)) == dict.fromkeys("abc", "skipped")


def test_a_changed_image_is_predicted_again(
    predictor: SlidingWindowPredictor, images: Path, tmp_path: Path
) -> None:
    predict(predictor, images, tmp_path / "out")
    write_case(images, "b", seed=9, shape=(10, 20, 18))
    assert statuses(predict(predictor, images, tmp_path / "out"))["b"] == "done"


def test_results_of_another_model_or_setting_are_refused(
    predictor: SlidingWindowPredictor, images: Path, tmp_path: Path, model_folder: ModelFolder
) -> None:
    out = tmp_path / "out"
    predict(predictor, images, out)
    before = {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()}
    other = SlidingWindowPredictor(load_model(model_folder(Tiny(folds=(0, 1))), folds=[1]))
    with pytest.raises(OtherResultsError, match=r"a.nii.gz was predicted with another model .*\(files\)"):
        predict(other, images, out)
    coarser = SlidingWindowPredictor(predictor.model, settings=Settings(step_size=0.8))
    with pytest.raises(OtherResultsError, match=r"step_size 0\.5, now 0\.8\).*--overwrite"):
        predict(coarser, images, out)
    assert {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()} == before
    assert statuses(predict(coarser, images, out, overwrite=True)) == dict.fromkeys("abc", "done")


def test_a_label_map_that_nobody_vouches_for_is_refused(
    predictor: SlidingWindowPredictor, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.nii.gz").write_bytes(b"of another program")
    with pytest.raises(OtherResultsError, match="nothing says which model predicted it"):
        predict(predictor, images, tmp_path / "out")
    assert (tmp_path / "out" / "b.nii.gz").read_bytes() == b"of another program"


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_image_is_never_written_over(
    predictor: SlidingWindowPredictor, images: Path, tmp_path: Path, overwrite: bool
) -> None:
    alone = (images / "a_0000.nii.gz").rename(tmp_path / "scan.nii.gz")
    before = alone.read_bytes()
    for file, output in ((alone, tmp_path), (images / ".." / "scan.nii.gz", tmp_path / "in" / "..")):
        with pytest.raises(ValueError, match=r"scan would be written over .*scan.nii.gz"):
            predict(predictor, [file], output, overwrite=overwrite)
    previous = CaseFiles("b", (images / "b_0000.nii.gz",), tmp_path / "out" / "b.nii.gz")
    with pytest.raises(ValueError, match=r"b would be written over .*b.nii.gz"):
        predict_cases(predictor, [previous], output=tmp_path / "out", overwrite=overwrite, worker=False)
    assert alone.read_bytes() == before


def test_the_report_tells_time_and_memory_of_each_case(
    predictor: SlidingWindowPredictor, images: Path, tmp_path: Path
) -> None:
    report = predict(predictor, images, tmp_path / "out")
    most = peak_memory_mib()
    if most is None:
        pytest.skip("no /proc")
    for case in report.cases:
        assert set(case.peak_memory_mib) == {"preprocessing", "network"}
        assert all(mib is not None and 50 < mib <= most + 1 for mib in case.peak_memory_mib.values())
    again = predict(predictor, images, tmp_path / "out")
    assert [case.peak_memory_mib for case in again.cases] == [{}, {}, {}]


def test_no_old_result_stands_for_a_case_that_failed(
    predictor: SlidingWindowPredictor, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(predictor, images, out)
    (images / "b_0000.nii.gz").write_bytes(b"not an image")
    report = predict(predictor, images, out, overwrite=True)
    assert statuses(report) == {"a": "done", "b": "failed", "c": "done"}
    assert not (out / "b.nii.gz").exists()


def test_a_network_that_fails_fails_its_case(
    predictor: SlidingWindowPredictor, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def answer(tile: torch.Tensor) -> torch.Tensor:
        calls.append(tile)
        logits = torch.zeros(1, 3, *tile.shape[2:])
        return logits if len(calls) > 1 else logits * torch.nan

    monkeypatch.setattr(predictor, "forward", answer)
    report = predict(predictor, images, tmp_path / "out")
    assert statuses(report) == {"a": "failed", "b": "done", "c": "done"}
    assert "the network's output is not finite" in report.failed[0].reason


def test_a_disk_that_refuses_fails_its_case(
    predictor: SlidingWindowPredictor, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = room.write_labels

    def refuse(labels: Any, file: Path, **options: Any) -> None:
        if file.name == "b.nii.gz":
            raise OSError(28, "No space left on device")
        real(labels, file, **options)

    monkeypatch.setattr(room, "write_labels", refuse)
    report = predict(predictor, images, tmp_path / "out")
    assert statuses(report) == {"a": "done", "b": "failed", "c": "done"}
    assert "No space left on device" in report.failed[0].reason
    assert not list((tmp_path / "out").glob(".*"))


def test_two_runs_do_not_share_a_folder(
    predictor: SlidingWindowPredictor, images: Path, tmp_path: Path
) -> None:
    with work_folder(tmp_path / "out"), pytest.raises(FolderInUseError, match="another run writes to"):
        predict(predictor, images, tmp_path / "out")
    assert statuses(predict(predictor, images, tmp_path / "out")) == dict.fromkeys("abc", "done")


def test_what_a_killed_run_left_is_cleared(
    predictor: SlidingWindowPredictor, images: Path, tmp_path: Path
) -> None:
    for left in (".predicting/prepared-3.npy", ".writing-abc/a.nii.gz"):
        (tmp_path / "out" / left).parent.mkdir(parents=True)
        (tmp_path / "out" / left).write_bytes(b"half")
    predict(predictor, images, tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*"))


def test_the_axis_of_mirroring_must_be_one_of_the_models(model_folder: ModelFolder) -> None:
    model = load_model(model_folder(Tiny(folds=(0, 1), mirroring=(0, 1))))
    assert SlidingWindowPredictor(model).forward.passes == 8
    one = SlidingWindowPredictor(model, settings=Settings(mirroring_axes=(1,)))
    assert one.forward.passes == 4
    with pytest.raises(ValueError, match=r"axes among \[0, 1\].* got \[2\]"):
        SlidingWindowPredictor(model, settings=Settings(mirroring_axes=(2,)))


def test_a_process_prepares_the_same_and_its_death_costs_one_case(
    predictor: SlidingWindowPredictor, images: Path, tmp_path: Path
) -> None:
    broken = CaseFiles("x", (images / "x_0000.nii.gz",))
    cases = find_cases(images, file_ending=".nii.gz")
    with PreparationWorker(Preparation.of(predictor.model), tmp_path) as worker:
        worker.submit(broken)
        with pytest.raises(Exception, match=r"expected the file .*x_0000.nii.gz, found none"):
            worker.take(broken)
        worker.submit(cases[0])
        prepared = worker.take(cases[0])
        direct = room.prepare_case(cases[0], Preparation.of(predictor.model))
        assert torch.equal(prepared.data, direct.data)
        assert prepared.properties == direct.properties
        os.kill(worker._process.pid, signal.SIGKILL)
        worker._process.join()
        worker.submit(cases[1])
        with pytest.raises(room.CaseError, match="ended from outside"):
            worker.take(cases[1])
        worker.submit(cases[2])
        assert worker.take(cases[2]).files == cases[2]
    assert not list(tmp_path.glob("prepared-*"))


@pytest.mark.long
def test_killed_and_typed_again(images: Path, tmp_path: Path, model_folder: ModelFolder) -> None:
    """kill -9 in the middle: what is there is whole; the next run does the rest."""
    for seed in range(5):
        write_case(images, f"n{seed:02d}", seed=seed, shape=(20, 60, 60))
    out = tmp_path / "out"
    command = [
        *(sys.executable, "-m", "nnunet_ext", "predict", "-i", str(images), "-o", str(out), "--no-pbar"),
        *("-m", str(model_folder(Tiny())), "--device", "cpu", "--threads", "1"),
    ]
    log = tmp_path / "log"
    with log.open("w") as said:
        process = subprocess.Popen(command, stderr=said, stdout=said)
    deadline = time.monotonic() + 120
    while len(list(out.glob("*.nii.gz"))) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    finished = sorted(out.glob("*.nii.gz"))
    assert 2 <= len(finished) < 8, log.read_text()
    times = {file: file.stat().st_mtime_ns for file in finished}
    for file in finished:
        sitk.ReadImage(str(file))
    done = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    skipped = {case["name"] for case in report["cases"] if case["status"] == "skipped"}
    assert {f"{name}.nii.gz" for name in skipped} == {file.name for file in finished}
    assert all(file.stat().st_mtime_ns == before for file, before in times.items())
    assert len(list(out.glob("*.nii.gz"))) == 8
    assert not list(out.glob(".*"))
