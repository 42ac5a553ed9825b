"""A trained model folder, located and loaded as nnU-Net does it."""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.file_path_utilities import get_output_folder
from torch import nn

import nnunet_ext
from nnunet_ext.files import checksum

Fold = int | str
HOOK_VARIABLE = "nnUNet_extTrainer"
COMPILE_VARIABLE = "nnUNet_compile"
FINAL = "checkpoint_final.pth"


class ModelError(RuntimeError):
    """A model is not where it was looked for, is incomplete or cannot be built."""


class OutputFormat(Protocol):
    """What is asked of a model where label maps and probabilities are written; it needs no weights."""

    @property
    def plans_manager(self) -> Any:
        """nnU-Net's."""

    @property
    def label_manager(self) -> Any:
        """What the outputs of the network mean."""

    @property
    def heads(self) -> int:
        """Outputs of the network: classes with background, or regions."""


@dataclass(frozen=True)
class Model:
    """A trained model, ready to predict on the CPU.

    Attributes:
        folder: ``.../TRAINER__PLANS__CONFIGURATION``.
        plans_manager: nnU-Net's, of the folder's ``plans.json``.
        configuration_manager: of the configuration that was trained.
        configuration: its name.
        dataset_json: of the folder.
        label_manager: what the outputs of the network mean.
        trainer: class name of the trainer.
        folds: of which ``networks`` are, in the same order.
        checkpoint: file name of the checkpoints.
        mirroring_axes: spatial axes that the trainer allows to be mirrored in prediction.
        networks: one for each fold, in eval mode, without deep supervision.
    """

    folder: Path
    plans_manager: Any
    configuration_manager: Any
    configuration: str
    dataset_json: dict[str, Any]
    label_manager: Any
    trainer: str
    folds: tuple[Fold, ...]
    checkpoint: str
    mirroring_axes: tuple[int, ...]
    networks: tuple[nn.Module, ...]

    @property
    def heads(self) -> int:
        """Outputs of the network: classes with background, or regions."""
        return int(self.label_manager.num_segmentation_heads)

    @property
    def image_channels(self) -> int:
        """Image files of a case."""
        return len(self.dataset_json.get("channel_names") or self.dataset_json["modality"])

    @property
    def file_ending(self) -> str:
        """Of images and label maps, ``".nii.gz"``."""
        return str(self.dataset_json["file_ending"])

    @property
    def previous_stage(self) -> str | None:
        """Configuration whose predictions the network gets as further channels."""
        name: str | None = self.configuration_manager.previous_stage_name
        return name

    def checksums(self) -> dict[str, str]:
        """SHA-256 of everything that decides about a prediction, by path in the folder."""
        files = [f"fold_{fold}/{self.checkpoint}" for fold in self.folds]
        return {name: checksum(self.folder / name) for name in ("plans.json", "dataset.json", *files)}


def find_model(
    *, dataset: int | str, configuration: str, trainer: str = "nnUNetTrainer", plans: str = "nnUNetPlans"
) -> Path:
    """Folder of a model in ``nnUNet_results``, by nnU-Net's own rule.

    Args:
        dataset: number or name.
        configuration: ``"3d_fullres"``.
        trainer: class name.
        plans: name of the plans.

    Raises:
        ModelError: ``nnUNet_results`` is not set, or nothing was trained under these names.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as results:
        ...     os.environ["nnUNet_results"] = results
        ...     find_model(dataset="Dataset001_No", configuration="2d")
        Traceback (most recent call last):
        nnunet_ext.inference.model.ModelError: expected a trained model in ...
    """
    try:
        folder = Path(get_output_folder(dataset, trainer, plans, configuration))
    except RuntimeError as error:
        raise ModelError(f"the model was not found: {error}") from error
    if not folder.is_dir():
        there = sorted(p.name for p in folder.parent.glob("*__*__*")) if folder.parent.is_dir() else []
        raise ModelError(
            f"expected a trained model in {folder}, found no such folder; trained for this dataset: "
            f"{', '.join(there) or 'nothing'}. Choose with -d, -c, -tr and -p, or name a folder with -m"
        )
    return folder


def available_folds(folder: Path, checkpoint: str = FINAL) -> tuple[Fold, ...]:
    """Folds of a model that have the checkpoint: the numbered ones, else ``all``.

    Example:
        >>> available_folds(Path("/no/such/model"))
        ()
    """
    names = [p.parent.name.removeprefix("fold_") for p in folder.glob(f"fold_*/{checkpoint}")]
    numbers = sorted(int(name) for name in names if name.isdigit())
    return tuple(numbers) or tuple(name for name in names if name == "all")


def load_model(folder: Path, *, folds: Sequence[Fold] | None = None, checkpoint: str = FINAL) -> Model:
    """Read plans, labels and weights of a model folder.

    Args:
        folder: ``.../TRAINER__PLANS__CONFIGURATION``, or what nnU-Net installed from a zip.
        folds: numbers or ``"all"``; None takes those that have the checkpoint.
        checkpoint: ``"checkpoint_final.pth"``, ``"checkpoint_best.pth"``.

    Raises:
        ModelError: a file is missing, the trainer is not found or the weights do not fit.

    Example:
        >>> load_model(Path("/no/such/model"))
        Traceback (most recent call last):
        nnunet_ext.inference.model.ModelError: expected dataset.json in /no/such/model, found none; ...
    """
    for name in ("dataset.json", "plans.json"):
        if not (folder / name).is_file():
            raise ModelError(
                f"expected {name} in {folder}, found none; -m wants the folder that holds fold_0, fold_1, ..."
            )
    chosen = _checked_folds(folder, folds, checkpoint)
    # nnU-Net's predictor prints how it goes; its refusals are exceptions.
    loader = _quiet_predictor()
    try:
        with redirect_stdout(io.StringIO()) as said, our_trainers_found(), _not_compiled():
            loader.initialize_from_trained_model_folder(str(folder), list(chosen), checkpoint)
    except Exception as error:  # torch.load and user's trainers raise whatever they like
        raise ModelError(
            f"the model in {folder} cannot be loaded: {type(error).__name__}: {error or said.getvalue()}"
        ) from error
    return Model(
        folder=folder,
        plans_manager=loader.plans_manager,
        configuration_manager=loader.configuration_manager,
        configuration=_name_of(loader.plans_manager, loader.configuration_manager),
        dataset_json=loader.dataset_json,
        label_manager=loader.label_manager,
        trainer=str(loader.trainer_name),
        folds=chosen,
        checkpoint=checkpoint,
        mirroring_axes=tuple(loader.allowed_mirroring_axes or ()),
        networks=_networks(loader.network, loader.list_of_parameters),
    )


@contextmanager
def our_trainers_found() -> Iterator[None]:
    """Inside it nnU-Net finds our trainers also where nobody has set ``nnUNet_extTrainer``."""
    before = os.environ.get(HOOK_VARIABLE)
    hook = str(Path(nnunet_ext.__file__).resolve().parent / "hook")
    named = [entry for entry in (before or "").split(os.pathsep) if entry.strip()]
    os.environ[HOOK_VARIABLE] = os.pathsep.join(dict.fromkeys([*named, hook]))
    try:
        yield
    finally:
        _restore(HOOK_VARIABLE, before)


@contextmanager
def _not_compiled() -> Iterator[None]:
    # A compiled network cannot be copied for the other folds.
    before = os.environ.pop(COMPILE_VARIABLE, None)
    try:
        yield
    finally:
        _restore(COMPILE_VARIABLE, before)


def _restore(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value


def _quiet_predictor() -> Any:
    with redirect_stdout(io.StringIO()):
        return nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)


def _checked_folds(folder: Path, folds: Sequence[Fold] | None, checkpoint: str) -> tuple[Fold, ...]:
    available = available_folds(folder, checkpoint)
    chosen = available if folds is None else tuple(folds)
    if len(set(chosen)) != len(chosen):
        raise ModelError(f"expected each fold once, got {list(chosen)}")
    missing = [fold for fold in chosen if not (folder / f"fold_{fold}" / checkpoint).is_file()]
    if missing or not chosen:
        others = sorted({p.name for p in folder.glob("fold_*/checkpoint_*.pth")})
        raise ModelError(
            f"expected {checkpoint} of {'fold ' + str(missing[0]) if missing else 'at least one fold'} in "
            f"{folder}, found none; folds that have it: {', '.join(map(str, available)) or 'none'}; "
            f"checkpoints that exist: {', '.join(others) or 'none'}. Choose with -f and -chk"
        )
    return chosen


def _name_of(plans_manager: Any, configuration_manager: Any) -> str:
    for name in plans_manager.plans["configurations"]:
        if plans_manager.get_configuration(name).configuration == configuration_manager.configuration:
            return str(name)
    return ""


def _networks(network: nn.Module, weights: Sequence[dict[str, Any]]) -> tuple[nn.Module, ...]:
    """One network for each set of weights; the first set is loaded already."""
    networks = [network, *(copy.deepcopy(network) for _ in weights[1:])]
    for one, own in zip(networks[1:], weights[1:], strict=True):
        one.load_state_dict(own)
    for one in networks:
        one.eval().requires_grad_(False)
    return tuple(networks)
