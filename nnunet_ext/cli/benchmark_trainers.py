"""Whether nnU-Net finds the trainers of a benchmark, before the first of them trains for days."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_ext.evaluation.benchmark.matrix import Matrix


def check_trainers(matrix: Matrix, *, environment: Mapping[str, str]) -> None:
    """Raise where nnU-Net would not find a trainer under the name that it will get.

    Names of ours are known by their spelling. Any other one is looked up as nnU-Net's commands will do it, in
    a fresh process, which takes some seconds.

    Args:
        matrix: the benchmark.
        environment: of the trainings.

    Raises:
        ValueError: there is no such trainer, it takes no budget, or it would compute in another precision.
        EnvironmentProblemError: the look-up itself failed.

    Example:
        >>> from nnunet_ext.evaluation.benchmark.matrix import Matrix
        >>> check_trainers(Matrix("Dataset004_X", ("nnUNetTrainerRASUNet_NoPAB",)), environment={})
        Traceback (most recent call last):
        nnunet_ext.trainers.names.MisspeltTrainerNameError: ...
    """
    from nnunet_ext.cli.fresh_process import look_up_in_fresh_process
    from nnunet_ext.commands import EnvironmentProblemError
    from nnunet_ext.evaluation.benchmark.matrix import VANILLA
    from nnunet_ext.trainers.names import parse

    typed = {matrix.trainer_to_type(arm.trainer): arm.trainer for arm in matrix.arms}
    unknown = [name for name in typed if name != VANILLA and parse(name) is None]
    if not unknown:
        return
    if matrix.precision == "bfloat16":
        raise ValueError(
            f"precision: {typed[unknown[0]]} is not ours: on a CPU it would compute in float32 beside others "
            "in bfloat16; take float32 for all"
        )
    try:
        found = look_up_in_fresh_process(unknown, environment=environment)
    except RuntimeError as error:
        raise EnvironmentProblemError(f"{error}; run nnunet_ext doctor") from error
    for look_up in found.look_ups:
        if not look_up.error:
            continue
        trainer = typed[look_up.name]
        budget = f" with the budget {matrix.budget}, as {look_up.name}" if matrix.budget else ""
        raise ValueError(
            f"trainers: nnU-Net finds no {trainer}{budget}. nnunet_ext trainers lists ours; "
            "nnUNet_extTrainer names folders with those of others, who have to know the name with its "
            f"budget ({look_up.error[:200]})"
        )
