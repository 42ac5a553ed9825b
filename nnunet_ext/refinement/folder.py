"""A refiner's folder: weights in safetensors and a JSON that says what it is for and whether it gains."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

import nnunet_ext
from nnunet_ext.files import checksum, write_text
from nnunet_ext.inference.model import Model
from nnunet_ext.networks.scn import RefineSCN
from nnunet_ext.refinement.case import EVERYWHERE
from nnunet_ext.refinement.outputs import Outputs, read_json
from nnunet_ext.refinement.sources import identity_differences
from nnunet_ext.weights import save_weights

WEIGHTS, DESCRIPTION = "refiner.safetensors", "refiner.json"
FORMAT = 1


class RefinerError(ValueError):
    """A refiner is not there, is damaged, or does not belong to these predictions."""


@dataclass(frozen=True)
class Refiner:
    """A trained refiner.

    Attributes:
        folder: where it lies.
        network: with its weights, in eval mode.
        outputs: of the first network.
        description: content of ``refiner.json``.
    """

    folder: Path
    network: RefineSCN
    outputs: Outputs
    description: dict[str, Any]

    def threshold(self, *, everywhere: bool) -> float:
        """Certainty of the first network below which voxels may change."""
        return EVERYWHERE if everywhere else float(self.description["unsure_below"])

    def gains(self, *, everywhere: bool) -> bool:
        """Whether it gained on held-out cases."""
        table = self.description["held_out"]["everywhere" if everywhere else "unsure"]
        return bool(table["gains"])

    def record(self, *, everywhere: bool) -> dict[str, Any]:
        """Everything of it that decides about a result; plain values."""
        return {
            "weights_sha256": self.description["weights_sha256"],
            "unsure_below": None if everywhere else self.threshold(everywhere=False),
        }


def save_refiner(folder: Path, network: RefineSCN, outputs: Outputs, *, content: dict[str, Any]) -> Refiner:
    """Write a refiner's folder; the JSON last, so that a folder with it is whole.

    Args:
        folder: is made if missing.
        network: trained.
        outputs: of the first network.
        content: ``source``, ``unsure_below``, ``held_out`` and whatever else belongs into the JSON.

    Raises:
        OSError: it cannot be written.
    """
    (folder / DESCRIPTION).unlink(missing_ok=True)
    save_weights(network, folder / WEIGHTS)
    description = {
        "format": FORMAT,
        **outputs.as_dict(),
        "configuration": outputs.configuration,
        "network": network.arguments(),
        "weights_sha256": checksum(folder / WEIGHTS),
        **content,
        "versions": {
            "nnunet_ext": nnunet_ext.__version__,
            "nnunetv2": version("nnunetv2"),
            "torch": torch.__version__,
            "python": sys.version.split()[0],
        },
        # What writes label maps where a folder of predictions has none of its own.
        "plans": outputs.plans,
        "dataset_json": outputs.dataset_json,
    }
    write_text(folder / DESCRIPTION, json.dumps(description, indent=1) + "\n")
    return load_refiner(folder)


def load_refiner(folder: Path) -> Refiner:
    """Read a refiner's folder.

    Raises:
        RefinerError: a file is missing or damaged, or is of another release.

    Example:
        >>> load_refiner(Path("/no/such/refiner"))
        Traceback (most recent call last):
        nnunet_ext.refinement.folder.RefinerError: expected a refiner (refiner.json, refiner.safetensors) ...
    """
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise RefinerError(
                f"expected a refiner ({DESCRIPTION}, {WEIGHTS}) in {folder}, found no {name}: train one with "
                "nnunet_ext refine train, or name its folder"
            )
    try:
        description = read_json(folder / DESCRIPTION)
        if description.get("format") != FORMAT:
            raise RefinerError(
                f"expected a refiner of format {FORMAT} in {folder}, got {description.get('format')!r}: use "
                "the release that wrote it, or train it again"
            )
        if checksum(folder / WEIGHTS) != description["weights_sha256"]:
            raise RefinerError(f"{folder / WEIGHTS} is not what was trained: copy the folder again")
        network = RefineSCN(**description["network"])
        network.load_state_dict(load_file(str(folder / WEIGHTS)))
        outputs = Outputs(description["plans"], description["dataset_json"], description["configuration"])
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise RefinerError(
            f"the refiner in {folder} cannot be read ({type(error).__name__}: {error}): copy it again"
        ) from error
    refiner = Refiner(folder, network.eval(), outputs, description)
    require_match(refiner, outputs, what="its own plans")  # somebody may have edited the JSON
    return refiner


def require_match(refiner: Refiner, outputs: Outputs, *, what: str) -> None:
    """Raise unless outputs have the refiner's labels, class order, spacing and axes.

    Args:
        refiner: the refiner.
        outputs: that it is to refine.
        what: whose they are, in words.

    Raises:
        RefinerError: with what differs.
    """
    ours = {name: refiner.description.get(name) for name in outputs.as_dict()}
    theirs = json.loads(json.dumps(outputs.as_dict()))
    different = [name for name in theirs if ours[name] != theirs[name]]
    if refiner.network.channels != outputs.heads:
        different.append("outputs")
        ours["outputs"], theirs["outputs"] = refiner.network.channels, outputs.heads
    if different:
        each = "; ".join(f"{n.replace('_', ' ')}: expected {ours[n]}, got {theirs[n]}" for n in different)
        raise RefinerError(
            f"the refiner in {refiner.folder} does not go with {what} ({each}). Train a refiner for it"
        )


def require_plans(refiner: Refiner, plans: dict[str, Any], *, what: str) -> None:
    """Raise unless plans are those of the refiner's model: of its dataset, its name, its configuration.

    Args:
        refiner: the refiner.
        plans: content of ``plans.json``.
        what: whose they are, in words.

    Raises:
        RefinerError: with what differs.
    """
    ours = refiner.outputs.plans
    named = [n for n in ("dataset_name", "plans_name") if n in plans and plans[n] != ours.get(n)]
    told = "; ".join(f"{n.replace('_', ' ')}: expected {ours.get(n)}, got {plans[n]}" for n in named)
    configuration = refiner.outputs.configuration
    if not told and plans["configurations"].get(configuration) != ours["configurations"][configuration]:
        told = f"{configuration} of {ours.get('plans_name')} was planned otherwise"
    if told:
        raise RefinerError(
            f"the refiner in {refiner.folder} does not go with {what} ({told}). Train a refiner for it"
        )


def require_source(refiner: Refiner, sha256: dict[str, str], *, what: str) -> None:
    """Raise unless files of a model are those that the refiner was trained with.

    Args:
        refiner: the refiner.
        sha256: of the model's files, by path in its folder, as ``Model.checksums`` gives them.
        what: whose they are, in words.

    Raises:
        RefinerError: with what differs.
    """
    different = identity_differences(refiner.description["source"], sha256)
    if different:
        source = refiner.description["source"]
        raise RefinerError(
            f"the refiner in {refiner.folder} was trained on the errors of {source['trainer']} "
            f"{source['configuration']} ({source['dataset']}); {what} differs in {', '.join(different)}. "
            "Predict with that model and the folds that the refiner was trained with, or train a refiner for "
            "this one"
        )


def require_model(refiner: Refiner, model: Model) -> None:
    """Raise unless a model is the one whose errors the refiner has learned.

    Raises:
        RefinerError: with what differs.
    """
    what = f"the model in {model.folder}"
    require_match(refiner, Outputs.of_model(model), what=what)
    require_source(refiner, model.checksums(), what=what)
