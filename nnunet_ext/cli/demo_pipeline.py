"""What the demo does: patients in DICOM, convert, plan, train, predict, export, compare."""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from nnunet_ext.cli.demo_clinic import (
    DATASET,
    DATASET_ID,
    SEED,
    convert_patients,
    export_structures,
    truth_of_unseen,
    write_patients,
)
from nnunet_ext.cli.demo_recipe import RECIPES, EpochProgress, Recipe
from nnunet_ext.cli.steps import (
    StepFailedError,
    exported,
    nnunet_environment,
    run_command,
)
from nnunet_ext.cli.workplace import Say, Workplace, write_json
from nnunet_ext.commands import EnvironmentProblemError, find_command

COMMANDS = ("nnUNetv2_plan_and_preprocess", "nnUNetv2_train", "nnUNetv2_predict")
# Rows of the picture; more would not be read.
OVERLAY_CASES = 3


def run_demo(*, out: Path, size: str, fresh: bool, say: Say) -> dict[str, object]:
    """Run all steps that are not finished yet.

    Args:
        out: folder of the demo; made if missing, refused if it holds something else.
        size: ``full`` or ``tiny``.
        fresh: remove what an earlier demo left in ``out`` and start over.
        say: receives commands, progress and the table.

    Returns:
        Dice per unseen case and their mean, paths of overlay, predictions and RTSTRUCT, seconds of each step.

    Raises:
        EnvironmentProblemError: nnU-Net is missing or ``out`` cannot be used.
        StepFailedError: a step failed.
    """
    from nnunet_ext.trainers.registry import hook_folder

    recipe = RECIPES[size]
    workplace = Workplace(out.resolve())
    for command in COMMANDS:
        find_command(command)
    _open_workplace(workplace, recipe=recipe, fresh=fresh)
    exports, environment = nnunet_environment(workplace, hook=hook_folder(), inherited=os.environ)
    say("# nnU-Net's folders of this demo; type these lines first to run a step yourself")
    for name, value in exports.items():
        say(f"export {name}={shlex.quote(value)}")
    with exported(exports):  # our verbs look at nnU-Net's folders too
        write_patients(workplace, recipe=recipe, say=say)
        convert_patients(workplace, say=say)
        _plan_step(workplace, environment=environment, say=say)
        _train_step(workplace, recipe=recipe, environment=environment, say=say)
        _predict_step(workplace, recipe=recipe, environment=environment, say=say)
        export_structures(workplace, say=say)
    return _report(workplace, size=size, say=say)


def _open_workplace(workplace: Workplace, *, recipe: Recipe, fresh: bool) -> None:
    """Make the demo's folder, or check that the one there is the same demo."""
    record_file = workplace.root / "demo.json"
    # Through JSON, so that tuples compare equal to the lists of the file.
    record = json.loads(json.dumps({"recipe": asdict(recipe), "seed": SEED}))
    try:
        if record_file.is_file():
            if fresh:
                workplace.clear()
            elif _recorded(record_file) != record:
                raise EnvironmentProblemError(
                    f"{workplace.root} holds a demo of another size or version; start over with --fresh or "
                    "choose another --out"
                )
        elif workplace.root.exists() and (not workplace.root.is_dir() or any(workplace.root.iterdir())):
            raise EnvironmentProblemError(
                f"{workplace.root} exists and holds no demo; choose an empty or new folder with --out"
            )
        nnunet = (workplace.raw, workplace.preprocessed, workplace.results)
        for folder in (*nnunet, workplace.structures, workplace.logs):
            folder.mkdir(parents=True, exist_ok=True)
        write_json(record_file, record)
    except OSError as error:
        raise EnvironmentProblemError(
            f"cannot use {workplace.root}: {error}; choose a folder that you may write to with --out"
        ) from error


def _recorded(file: Path) -> object:
    """What a demo's record says; None where it says nothing."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _plan_step(workplace: Workplace, *, environment: Mapping[str, str], say: Say) -> None:
    """Plan and preprocess."""
    command = [COMMANDS[0], "-d", str(DATASET_ID), "-c", "3d_fullres", "--verify_dataset_integrity"]
    command += ["-npfp", "1", "-np", "1"]
    say(f"\n[3/6] plan and preprocess\n$ {shlex.join(command)}")
    log = workplace.logs / "plan.log"
    workplace.run_once(
        "plan", work=lambda: run_command(command, step="plan", log=log, environment=environment), say=say
    )


def _train_step(workplace: Workplace, *, recipe: Recipe, environment: Mapping[str, str], say: Say) -> None:
    """Train fold 0; an interrupted training continues from its last checkpoint."""
    command = [COMMANDS[1], str(DATASET_ID), "3d_fullres", "0", "-tr", recipe.trainer, "-device", "cpu"]
    say(f"\n[4/6] train {recipe.epochs} epochs of {recipe.iters} iterations\n$ {shlex.join(command)}")
    if any(workplace.results.rglob("checkpoint_*.pth")) and not workplace.is_finished("train"):
        command.append("--c")
        say(f"  continuing an interrupted training\n$ {shlex.join(command)}")
    progress = EpochProgress(epochs=recipe.epochs, say=say)

    def work() -> None:
        log = workplace.logs / "train.log"
        run_command(command, step="train", log=log, environment=environment, on_line=progress)

    workplace.run_once("train", work=work, say=say)


def _predict_step(workplace: Workplace, *, recipe: Recipe, environment: Mapping[str, str], say: Say) -> None:
    """Segment the unseen phantoms."""
    images = workplace.raw / DATASET / "imagesTs"
    command = [COMMANDS[2], "-d", str(DATASET_ID), "-c", "3d_fullres", "-f", "0", "-tr", recipe.trainer]
    command += [
        "-i",
        str(images),
        "-o",
        str(workplace.predictions),
        "-device",
        "cpu",
        "-npp",
        "1",
        "-nps",
        "1",
    ]
    say(f"\n[5/6] predict {recipe.test_cases} unseen patients\n$ {shlex.join(command)}")
    log = workplace.logs / "predict.log"
    workplace.run_once(
        "predict",
        work=lambda: run_command(command, step="predict", log=log, environment=environment),
        say=say,
    )


def _report(workplace: Workplace, *, size: str, say: Say) -> dict[str, object]:
    """Dice table and overlay."""
    from nnunet_ext.cli.overlay import read_comparisons, write_overlay

    try:
        comparisons = read_comparisons(
            truth_of_unseen(workplace),
            images=workplace.raw / DATASET / "imagesTs",
            predictions=workplace.predictions,
        )
        overlay = workplace.root / "overlay.png"
        write_overlay(comparisons[:OVERLAY_CASES], path=overlay)
    except (OSError, RuntimeError, ValueError) as error:
        raise StepFailedError(f"step 'compare' failed: {error}") from error
    dice = {comparison.case: comparison.dice for comparison in comparisons}
    known = [value for value in dice.values() if not math.isnan(value)]
    mean = sum(known) / len(known) if known else math.nan
    say("\nunseen case      Dice")
    for case, value in dice.items():
        say(f"{case:<16} {value:.3f}")
    say(f"{'mean':<16} {mean:.3f}\n")
    seconds = workplace.seconds()
    say(f"overlay: {overlay}\npredictions: {workplace.predictions}\nRTSTRUCT: {workplace.structures}")
    say("steps: " + ", ".join(f"{step} {value:.0f} s" for step, value in seconds.items()))
    result: dict[str, object] = {
        "size": size,
        # JSON knows no nan.
        "dice": {case: None if math.isnan(value) else value for case, value in dice.items()},
        "mean_dice": None if math.isnan(mean) else mean,
        "overlay": str(overlay),
        "predictions": str(workplace.predictions),
        "structures": str(workplace.structures),
        "seconds": seconds,
    }
    write_json(workplace.root / "result.json", result)
    return result
