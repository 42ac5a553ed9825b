"""Training: learns, is deterministic, resumes to the bit, writes files that hold numbers alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refinement_home import RefinementHome, small_refiners
from safetensors.torch import load_file

from nnunet_ext.refinement import train as room
from nnunet_ext.refinement import training
from nnunet_ext.refinement.cache import cached
from nnunet_ext.refinement.corruption import Anatomy, pair_weights
from nnunet_ext.refinement.samples import Samples
from nnunet_ext.refinement.sources import Source
from nnunet_ext.refinement.train import train_refiner
from nnunet_ext.refinement.training import Settings, fit, new_network, refiner_loss

HomeOf = Callable[..., RefinementHome]
SHORT = Settings(iterations=6)


class StoppedError(Exception):
    """Somebody pulls the plug."""


def samples(source: Source, folder: Path, *, patch: tuple[int, ...] = (6, 12, 12)) -> Samples:
    cases = [cached(case, outputs=source.outputs, folder=folder) for case in source.cases]
    members, has_regions = source.outputs.members, source.outputs.has_regions
    anatomy = Anatomy(
        source.outputs.spacing_mm,
        members,
        has_regions,
        pair_weights(members, has_regions=has_regions),
        radius_mm=(1.5, 3.0),
    )
    return Samples(cases, source.outputs, anatomy, patch, 0.5, seed=0)


def weights(file: Path) -> dict[str, torch.Tensor]:
    return load_file(str(file))


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.mark.parametrize("labels", ["plain", "ignore", "regions", "regions_ignore"])
def test_a_sample_is_a_pure_function_of_its_step(home_of: HomeOf, labels: str, tmp_path: Path) -> None:
    source = home_of(labels).source()
    drawn = samples(source, tmp_path)
    targets = {"plain": 1, "ignore": 1, "regions": 2, "regions_ignore": 3}[labels]
    seen = set()
    for step in range(12):
        probabilities, target = drawn.draw(step)
        again, target_again = drawn.draw(step)
        assert torch.equal(probabilities, again)
        assert torch.equal(target, target_again)
        assert probabilities.shape == (1, source.outputs.heads, 6, 12, 12)
        assert target.shape == (1, targets, 6, 12, 12)
        seen.add(float(probabilities.sum(dtype=torch.float64)))
    assert len(seen) == 12


@pytest.mark.parametrize("labels", ["plain", "ignore", "regions", "regions_ignore"])
def test_what_is_ignored_has_no_say_in_the_loss(home_of: HomeOf, labels: str, tmp_path: Path) -> None:
    source = home_of(labels).source()
    loss = refiner_loss(source.outputs)
    drawn = samples(source, tmp_path, patch=(10, 18, 22))
    _, target = drawn.draw(1)
    logits = torch.randn(1, source.outputs.heads, *target.shape[2:], requires_grad=True)
    value = loss(logits, target)
    assert torch.isfinite(value)
    value.backward()
    assert logits.grad is not None
    if "ignore" not in labels:
        assert bool(logits.grad.abs().amax(1).all())
        return
    ignored = target[:, -1] == (3 if labels == "ignore" else 1)
    assert bool(ignored.any())
    assert not bool(logits.grad.abs().amax(1)[ignored].any())
    assert bool(logits.grad.abs().amax(1)[~ignored].all())


def test_the_loss_of_a_perfect_answer(home_of: HomeOf, tmp_path: Path) -> None:
    source = home_of("plain").source()
    drawn = samples(source, tmp_path, patch=(10, 18, 22))
    _, target = drawn.draw(0)
    sure = torch.nn.functional.one_hot(target[:, 0].long(), 3).movedim(-1, 1).float() * 60 - 30
    # nnU-Net's Dice loss is negative Dice: -1 for a perfect answer.
    assert float(refiner_loss(source.outputs)(sure, target)) == pytest.approx(-1, abs=1e-3)


def test_the_loss_is_dice_and_a_tenth_of_focal(home_of: HomeOf, tmp_path: Path) -> None:
    source = home_of("plain").source()
    drawn = samples(source, tmp_path, patch=(10, 18, 22))
    _, target = drawn.draw(0)
    logits = torch.randn(1, 3, *target.shape[2:], generator=torch.Generator().manual_seed(0))
    found = float(refiner_loss(source.outputs)(logits, target))
    labels = target[:, 0].long()
    probabilities = logits.softmax(1)
    truth = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1)
    dice = [
        (2 * (p * t).sum() + training.SMOOTH) / (p.sum() + t.sum() + training.SMOOTH)
        for p, t in zip(probabilities[0, 1:], truth[0, 1:], strict=True)
    ]
    right = probabilities.gather(1, labels[:, None])
    focal = -((1 - right) ** 2 * right.log()).mean()
    assert found == pytest.approx(float(-sum(dice) / 2 + 0.1 * focal), abs=1e-5)


def test_each_case_is_judged_by_a_refiner_that_never_saw_its_fold(
    home_of: HomeOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[set[str]] = []
    judged: dict[str, int] = {}
    fit_one, score_one = room._Run._fit, room.score_held_out

    def fit_noted(self: Any, name: str, cases: Any, layout: Any) -> Any:
        learned.append({case.name for case in cases})
        return fit_one(self, name, cases, layout)

    def score_noted(case: Any, **options: Any) -> Any:
        judged[case.name] = len(learned) - 1
        return score_one(case, **options)

    monkeypatch.setattr(room._Run, "_fit", fit_noted)
    monkeypatch.setattr(room, "score_held_out", score_noted)
    source = home_of("plain").source()
    train_refiner(source, out=tmp_path / "out", settings=Settings(iterations=1), progress=False)
    folds = {case.name: case.fold for case in source.cases}
    assert set(judged) == set(folds) == learned[-1]
    for name, training_number in judged.items():
        assert folds[name] not in {folds[other] for other in learned[training_number]}


def fitted(source: Source, folder: Path, checkpoint: Path, settings: Settings = SHORT) -> Any:
    drawn = samples(source, folder)
    sizes = [case.labels.shape for case in drawn.cases]
    layout = room._layout(drawn.cases, source.outputs, settings)
    assert sizes
    network = new_network(source.outputs, layout, settings)
    fit(
        network,
        drawn.draw,
        loss=refiner_loss(source.outputs),
        settings=settings,
        checkpoint=checkpoint,
        progress=False,
    )
    return network


def test_a_training_that_stops_anywhere_goes_on_to_the_same_weights(
    home_of: HomeOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = home_of("plain").source()
    undisturbed = fitted(source, tmp_path, tmp_path / "a.pt").state_dict()
    other_seed = fitted(source, tmp_path, tmp_path / "c.pt", replace(SHORT, seed=1)).state_dict()
    assert not torch.equal(undisturbed["to_local.weight"], other_seed["to_local.weight"])
    save = training._save

    def interrupted(file: Path, network: Any, optimizer: Any, step: int) -> None:
        save(file, network, optimizer, step)
        raise StoppedError

    monkeypatch.setattr(training, "_save", interrupted)
    for _ in range(SHORT.iterations):
        with pytest.raises(StoppedError):
            fitted(source, tmp_path, tmp_path / "b.pt")
    assert_same(undisturbed, fitted(source, tmp_path, tmp_path / "b.pt").state_dict())


def test_checkpoints_hold_numbers_alone_and_those_of_other_networks_are_refused(
    home_of: HomeOf, tmp_path: Path
) -> None:
    source = home_of("plain").source()
    fitted(source, tmp_path, tmp_path / "a.pt")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    assert state["step"] == SHORT.iterations
    with pytest.raises(ValueError, match="is not of this refiner"):
        fitted(source, tmp_path, tmp_path / "a.pt", replace(SHORT, kernels="5x5x5"))


def test_a_loss_that_is_not_finite_stops_the_training(home_of: HomeOf, tmp_path: Path) -> None:
    source = home_of("plain").source()
    drawn = samples(source, tmp_path)
    network = new_network(source.outputs, room._layout(drawn.cases, source.outputs, SHORT), SHORT)
    torch.nn.init.constant_(network.to_local.bias, float("nan"))
    with pytest.raises(FloatingPointError, match="the loss is nan at step 0"):
        fit(
            network,
            drawn.draw,
            loss=refiner_loss(source.outputs),
            settings=SHORT,
            checkpoint=tmp_path / "a.pt",
            progress=False,
        )


KILLED = """\
import sys, os, signal
from pathlib import Path
import torch
from nnunet_ext.refinement import training
from nnunet_ext.refinement.sources import out_of_fold
from nnunet_ext.refinement.train import train_refiner
torch.set_num_threads(1)
training.FEATURES = 8
model, preprocessed, out = map(Path, sys.argv[1:4])
save, saves = training._save, []
def save_and_die(*arguments):
    save(*arguments)
    saves.append(1)
    if len(saves) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
training._save = save_and_die
settings = training.Settings(iterations=3)
train_refiner(out_of_fold(model, preprocessed=preprocessed), out=out, settings=settings, progress=False)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_and_begun_again_it_is_the_same_refiner(home_of: HomeOf, tmp_path: Path) -> None:
    """Each of three trainings has three checkpoints: it dies in the second one, after scores of the first."""
    home = home_of("plain")
    out = tmp_path / "killed"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(home.model), str(home.preprocessed), str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (out / ".training" / "held-out-1.pt").is_file()
    assert len(list((out / ".training" / "scores").iterdir())) == 4
    assert not (out / "refiner.json").exists()
    settings = Settings(iterations=3)
    before = time.time_ns()
    again = train_refiner(home.source(), out=out, settings=settings, progress=False)
    undisturbed = train_refiner(home.source(), out=tmp_path / "other", settings=settings, progress=False)
    assert_same(weights(out / "refiner.safetensors"), weights(tmp_path / "other" / "refiner.safetensors"))
    assert again.refiner.description["held_out"] == undisturbed.refiner.description["held_out"]
    assert sorted(p.name for p in out.iterdir()) == [".lock", "refiner.json", "refiner.safetensors"]
    # A third time there is nothing to do.
    stamp = (out / "refiner.safetensors").stat().st_mtime_ns
    assert stamp > before
    assert not train_refiner(home.source(), out=out, settings=settings, progress=False).failed
    assert (out / "refiner.safetensors").stat().st_mtime_ns == stamp


def test_a_folder_of_other_settings_is_left_alone(home_of: HomeOf, tmp_path: Path) -> None:
    source = home_of("plain").source()
    settings = Settings(iterations=1)
    with small_refiners():
        train_refiner(source, out=tmp_path, settings=settings, progress=False)
        with pytest.raises(ValueError, match="holds a refiner with another settings"):
            train_refiner(source, out=tmp_path, settings=replace(settings, seed=3), progress=False)
    (tmp_path / "refiner.json").unlink()
    (tmp_path / ".training").mkdir()
    (tmp_path / ".training" / "training.json").write_text('{"settings": 1}')
    with pytest.raises(ValueError, match="holds an unfinished training of another model"):
        train_refiner(source, out=tmp_path, settings=settings, progress=False)


def test_files_that_changed_in_between_are_no_continuation(
    home_of: HomeOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = home_of("plain").source()

    def stopped(*arguments: Any, **options: Any) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(room, "fit", stopped)
        with pytest.raises(StoppedError):
            train_refiner(source, out=tmp_path, settings=SHORT, progress=False)
    fewer = replace(source, cases=source.cases[:-1])
    with pytest.raises(ValueError, match="unfinished training of other cases"):
        train_refiner(fewer, out=tmp_path, settings=SHORT, progress=False)


def test_the_largest_patch_is_a_whole_case(home_of: HomeOf, tmp_path: Path) -> None:
    source = home_of("plain").source()
    drawn = samples(source, tmp_path, patch=(100, 100, 100))
    shapes = {tuple(case.labels.shape) for case in drawn.cases}
    assert {tuple(drawn.draw(step)[0].shape[2:]) for step in range(20)} <= shapes


def test_foreground_is_in_most_patches(home_of: HomeOf, tmp_path: Path) -> None:
    source = home_of("plain").source()
    drawn = samples(source, tmp_path, patch=(3, 5, 5))
    with_foreground = [bool((drawn.draw(step)[1] > 0).any()) for step in range(60)]
    assert np.mean(with_foreground) > 0.6
