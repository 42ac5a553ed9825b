"""Training: exact resume, several processes, what is written, and what is refused."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import translation_runs
from lightning_fabric import Fabric
from matplotlib.image import imread
from translation_home import MR, PATCH, TranslationHome, overwrite, small
from translation_runs import SCHEDULE, WithPlainSteps, train_small

from nnunet_ext.lock import alone
from nnunet_ext.translation import step, training
from nnunet_ext.translation.checkpoint import FILE, load_checkpoint
from nnunet_ext.translation.folder import load_model
from nnunet_ext.translation.loss_log import LossLog
from nnunet_ext.translation.objectives import Generators


def assert_same_state(one: Path, other: Path) -> None:
    """Weights, optimizers, pools and losses, bit for bit."""
    first, second = (load_checkpoint(folder) for folder in (one, other))
    assert first is not None
    assert second is not None
    assert first.step == second.step
    _assert_equal(vars(first), vars(second))
    assert (one / "losses.csv").read_text() == (other / "losses.csv").read_text()
    for name in ("generator.safetensors", "generator_back.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def _assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            _assert_equal(one[key], other[key])
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def test_an_interrupted_training_ends_as_an_undisturbed_one(
    home: TranslationHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small(steps=6, pool_size=2, anchored=True)
    train_small(home, tmp_path / "undisturbed", settings)
    whole = step.Players.step

    def until_the_fourth(self: Any, *args: Any, number: int) -> Any:
        if number == 3:  # one after a checkpoint, so that a step is done twice
            raise KeyboardInterrupt
        return whole(self, *args, number=number)

    monkeypatch.setattr(step.Players, "step", until_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        train_small(home, tmp_path / "interrupted", settings)
    monkeypatch.undo()
    assert not load_model(tmp_path / "interrupted").is_complete
    done = train_small(home, tmp_path / "interrupted", settings)
    assert (done.steps, done.steps_now) == (6, 4)
    assert_same_state(tmp_path / "interrupted", tmp_path / "undisturbed")
    assert load_model(tmp_path / "interrupted").is_complete


def test_workers_change_nothing(home: TranslationHome, tmp_path: Path) -> None:
    train_small(home, tmp_path / "own", small())
    train_small(home, tmp_path / "workers", small(), schedule=replace(SCHEDULE, workers=2))
    assert_same_state(tmp_path / "own", tmp_path / "workers")


@pytest.mark.long
def test_a_training_that_is_killed_goes_on(home: TranslationHome, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    # Sums in another number of threads are rounded otherwise.
    command = [sys.executable, translation_runs.__file__, home.root, folder, torch.get_num_threads()]
    process = subprocess.Popen([str(word) for word in command])
    deadline = time.monotonic() + 200
    while not (folder / FILE).is_file():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = load_checkpoint(folder)
    assert left is not None
    assert 2 <= left.step < 200
    settings = small(steps=200)
    train_small(home, folder, settings)
    train_small(home, tmp_path / "undisturbed", settings)
    assert_same_state(folder, tmp_path / "undisturbed")


def test_a_finished_training_is_left_as_it_is(home: TranslationHome, tmp_path: Path) -> None:
    train_small(home, tmp_path)
    before = (tmp_path / FILE).stat().st_mtime_ns
    done = train_small(home, tmp_path)
    assert done.steps_now == 0
    assert np.isnan(done.seconds_per_step)
    assert (tmp_path / FILE).stat().st_mtime_ns == before


@pytest.mark.long
def test_two_processes_do_what_one_does(home: TranslationHome, tmp_path: Path) -> None:
    """Batch 2 in one process, and batch 1 in each of two under gloo.

    In double precision: instance normalization blows up the rounding of a translation that is nearly flat.
    """
    mr, ct = home.domains()
    settings = small(steps=4, batch_size=2, pool_size=1, learning_rate=2e-3)
    states = []
    for folder, fabric in (
        (tmp_path / "one", Fabric(accelerator="cpu", devices=1, precision="64-true")),
        (
            tmp_path / "two",
            Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn", precision="64-true"),
        ),
    ):
        run = training._Run(mr, ct, settings, folder, PATCH, SCHEDULE)
        before = step.Adam
        try:
            fabric.launch(WithPlainSteps(run))
        finally:
            step.Adam = before  # type: ignore[misc]
        checkpoint = load_checkpoint(folder)
        assert checkpoint is not None
        states.append(checkpoint)
    one, two = states
    for part in one.networks:
        for name, value in one.networks[part].items():
            torch.testing.assert_close(two.networks[part][name], value, rtol=1e-4, atol=1e-6)
    torch.manual_seed(settings.seed)
    begun = Generators(settings).state_dict()["to_ct.layers.1.weight"]
    assert (one.networks["generators"]["to_ct.layers.1.weight"] - begun).abs().max() > 1e-4
    for name, images in one.pools.items():
        assert images.shape == (2, 1, 1, *PATCH)
        torch.testing.assert_close(two.pools[name], images, rtol=1e-4, atol=1e-5)
    rows = [list(csv.DictReader((tmp_path / n / "losses.csv").open())) for n in ("one", "two")]
    for first, second in zip(*rows, strict=True):
        assert {k: pytest.approx(float(v), rel=1e-3) for k, v in first.items()} == {
            k: float(v) for k, v in second.items()
        }


def test_mixed_precision(home: TranslationHome, tmp_path: Path) -> None:
    train_small(home, tmp_path, small(steps=2, precision="bf16-mixed"))
    weights = load_checkpoint(tmp_path).networks["generators"]  # type: ignore[union-attr]
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_a_batch_that_processes_cannot_share_is_refused(home: TranslationHome) -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    assert step.slots_of(fabric, small(batch_size=3)) == range(3)

    class Two:
        world_size, global_rank = 2, 1

    assert step.slots_of(Two(), small(batch_size=4)) == range(2, 4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="2 processes can share evenly, got 3"):
        step.slots_of(Two(), small(batch_size=3))  # type: ignore[arg-type]


def test_the_networks_learn(home: TranslationHome, tmp_path: Path) -> None:
    settings = small(steps=30, generator_features=4, learning_rate=2e-3)
    train_small(home, tmp_path, settings, schedule=replace(SCHEDULE, log_every=10, checkpoint_every=30))
    with (tmp_path / "losses.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == [10, 20, 30]
    for name in ("cycle_mr", "cycle_ct"):
        assert float(rows[-1][name]) < 0.7 * float(rows[0][name])


def test_pictures_show_both_ways(home: TranslationHome, tmp_path: Path) -> None:
    train_small(home, tmp_path, small(steps=2), schedule=replace(SCHEDULE, picture_every=2))
    picture = imread(tmp_path / "pictures" / "step_0000002.png")
    assert picture.shape[0] > 300
    assert picture.std() > 0.1


def test_cases_that_cannot_be_used_are_listed(own_home: TranslationHome, tmp_path: Path) -> None:
    overwrite(own_home, MR, "mr_1", np.nan, (0, 3, 3, 3))
    done = train_small(own_home, tmp_path, small(steps=1))
    assert list(done.refused) == ["Dataset041_MR/mr_1"]
    record = load_model(tmp_path).record
    assert record["source"]["cases"] == ["mr_0", "mr_2"]
    assert "finite" in record["source"]["refused"]["mr_1"]


def test_a_folder_of_another_translation_is_refused(home: TranslationHome, tmp_path: Path) -> None:
    train_small(home, tmp_path, small(steps=1))
    with pytest.raises(ValueError, match="another translation: settings differ"):
        train_small(home, tmp_path, small(steps=2))


def test_a_second_process_waits_for_the_first(
    home: TranslationHome, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with alone(tmp_path / ".lock", what="the first"):
            second = pool.submit(train_small, home, tmp_path, small(steps=1))
            deadline = time.monotonic() + 60
            while "waiting for it" not in caplog.text:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert load_checkpoint(tmp_path) is None
        assert second.result(timeout=60).steps_now == 1


def test_a_patch_that_does_not_go_is_refused(home: TranslationHome, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 34 voxels"):
        train_small(home, tmp_path, small(discriminator_layers=2))
    assert not list(tmp_path.iterdir())


def test_losses_that_are_not_finite_stop_it(
    home: TranslationHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step.Players, "step", lambda *_, **__: {"cycle_mr": torch.tensor(float("nan"))})
    with pytest.raises(FloatingPointError, match="cycle_mr are not finite; take a smaller --learning-rate"):
        train_small(home, tmp_path)
    assert load_checkpoint(tmp_path) is None


def test_rows_of_a_killed_run_are_dropped(tmp_path: Path) -> None:
    log = LossLog(tmp_path, start=0)
    for number in range(1, 5):
        log.add({"a": float(number)})
        log.write_row(number)
    again = LossLog(tmp_path, start=2)
    again.add({"a": 9.0})
    again.write_row(3)
    assert (tmp_path / "losses.csv").read_text() == "step,a\n1,1\n2,2\n3,9\n"
    assert again.write_row(3) == {}


@pytest.mark.parametrize("damage", [b"", b"no checkpoint"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / FILE).write_bytes(damage)
    with pytest.raises(ValueError, match="damaged or no checkpoint of a translation"):
        load_checkpoint(tmp_path)


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path(tmp_path / "executed").touch, ())

    torch.save({"step": Malicious()}, tmp_path / FILE)
    with pytest.raises(ValueError, match="damaged or no checkpoint"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "executed").exists()
