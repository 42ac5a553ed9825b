"""A preparation as ordered steps: run on a case, written as ``preparation.json``, read back exactly."""

from __future__ import annotations

import json
import logging
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from nnunet_ext.files import write_text
from nnunet_ext.preparation.errors import PreparationError
from nnunet_ext.preparation.geometry import check_same_grid, check_volume
from nnunet_ext.preparation.steps import STEPS, Case, Register, RemoveCouch, Step

logger = logging.getLogger(__name__)

FILE_NAME = "preparation.json"
VERSION = 1


@dataclass(frozen=True)
class Prepared:
    """A prepared case.

    Attributes:
        case: its channels and label; masks and transforms that steps found.
        report: for each step its name, parameters and figures; plain values that JSON holds.
    """

    case: Case
    report: dict[str, Any]


@dataclass(frozen=True)
class Preparation:
    """Steps in their order, for every patient alike.

    Args:
        channels: names of the channels that a case brings, in the dataset's order.
        label_channel: on whose grid labels lie; that channel is never moved onto another.
        steps: what is done, first to last.

    Raises:
        PreparationError: ``bad-record`` where steps and channels do not fit together, or a parameter has
            the wrong type.

    Example:
        >>> from nnunet_ext.preparation import Resample, Window
        >>> import numpy as np
        >>> steps = (Resample(spacing_mm=(2, 1, 1)), Window(channel="CT", low=-150, high=150))
        >>> preparation = Preparation(channels=("CT",), label_channel="CT", steps=steps)
        >>> ct = sitk.GetImageFromArray(np.zeros((4, 4, 4), np.int16))
        >>> prepared = preparation.run({"CT": ct})
        >>> prepared.case.channels["CT"].GetSize(), prepared.report["steps"][0]["size_after"]
        ((4, 4, 2), [2, 4, 4])
        >>> preparation_from_json(preparation_to_json(preparation)) == preparation
        True
    """

    channels: tuple[str, ...]
    label_channel: str
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        if len(set(self.channels)) != len(self.channels) or self.label_channel not in self.channels:
            raise _bad(
                f"expected distinct channels and label_channel one of them, got {list(self.channels)} and "
                f"{self.label_channel!r}",
                "name each channel once",
            )
        bodies: set[str] = set()
        for number, step in enumerate(self.steps, 1):
            where = f"step {number} ({step.name})"
            _check_types(step, where)
            if unknown := sorted(set(step.reads) - set(self.channels)):
                raise _bad(
                    f"{where}: expected channels out of {list(self.channels)}, got {unknown}",
                    "name a channel of the dataset",
                )
            if len(set(step.reads)) != len(step.reads) or step.moves == self.label_channel:
                raise _bad(
                    f"{where}: channel {step.moves!r} would be moved away from its own grid, where "
                    "the labels lie, or onto itself",
                    "move another channel onto it instead",
                )
            if isinstance(step, Register) and step.within_body and step.fixed not in bodies:
                raise _bad(
                    f"{where}: within_body needs the body of {step.fixed!r}, which no step before finds",
                    f"put remove_couch on {step.fixed!r} before it, or set within_body to false",
                )
            if isinstance(step, RemoveCouch):
                bodies.add(step.channel)
            bodies.discard(step.moves or "")

    def run(self, channels: Mapping[str, sitk.Image], label: sitk.Image | None = None) -> Prepared:
        """Prepare one case; the images given stay as they are.

        Args:
            channels: name to image, exactly the channels of this preparation.
            label: on the grid of ``label_channel``.

        Raises:
            PreparationError: ``wrong-channels``, ``grids-differ`` for the label, or that of a step, whose
                reason then begins with the number and the name of the step.
        """
        if set(channels) != set(self.channels):
            raise PreparationError(
                "wrong-channels",
                f"expected channels {list(self.channels)}, got {sorted(channels)}",
                "give every channel under its name",
            )
        for name in self.channels:
            check_volume(channels[name], what=f"channel {name!r}")
        if label is not None:
            check_volume(label, what="the label")
            check_same_grid(
                label,
                channels[self.label_channel],
                what="the label",
                reference_name=f"channel {self.label_channel!r}",
            )
        case = Case(channels={name: channels[name] for name in self.channels}, label=label)
        report: list[dict[str, Any]] = []
        for number, step in enumerate(self.steps, 1):
            logger.info("step %d of %d: %s", number, len(self.steps), step.name)
            try:
                case, figures = step.run(case)
            except PreparationError as error:
                reason = f"step {number} ({step.name}): {error.reason}"
                raise PreparationError(error.code, reason, error.remedy) from error
            except ValueError as error:  # a parameter outside its range
                raise _bad(f"step {number} ({step.name}): {error}", "correct the parameter") from error
            report.append({**_to_plain(step), **figures})
        return Prepared(case, {"simpleitk": sitk.Version.VersionString(), "steps": report})


def preparation_to_json(preparation: Preparation) -> str:
    """The text of ``preparation.json``, every parameter written out."""
    content = {
        "format": "nnunet_ext preparation",
        "version": VERSION,
        "channels": list(preparation.channels),
        "label_channel": preparation.label_channel,
        "steps": [_to_plain(step) for step in preparation.steps],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def preparation_from_json(text: str) -> Preparation:
    """Read what :func:`preparation_to_json` wrote.

    Raises:
        PreparationError: ``bad-record``: another kind of text, another version, an unknown step, an unknown
            or missing parameter, a value of the wrong type.

    Example:
        >>> preparation_from_json('{"format": "nnunet_ext preparation", "version": 2}')
        Traceback (most recent call last):
        nnunet_ext.preparation.errors.PreparationError: bad-record: expected version 1, got 2; ...
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _bad(f"expected JSON, got text that is none ({error})", "restore the file") from error
    if not isinstance(content, dict) or content.get("format") != "nnunet_ext preparation":
        raise _bad('expected "format": "nnunet_ext preparation"', f"give a {FILE_NAME} written by nnunet_ext")
    version = content.get("version")
    if version != VERSION or isinstance(version, bool):
        raise _bad(
            f"expected version {VERSION}, got {version!r}",
            "use the version of nnunet_ext that wrote the file",
        )
    _check_keys(content, {"format", "version", "channels", "label_channel", "steps"}, "the record")
    channels, steps = content["channels"], content["steps"]
    if not isinstance(channels, list) or not all(isinstance(c, str) for c in channels):
        raise _bad(f"expected channels as a list of names, got {channels!r}", "restore the file")
    if not isinstance(steps, list):
        raise _bad(f"expected steps as a list, got {type(steps).__name__}", "restore the file")
    return Preparation(
        channels=tuple(channels),
        label_channel=content["label_channel"],
        steps=tuple(_step(number, step) for number, step in enumerate(steps, 1)),
    )


def write_preparation(preparation: Preparation, path: Path) -> None:
    """Write ``preparation.json`` by rename: it is whole or not there.

    Args:
        preparation: to be written.
        path: of the file.
    """
    write_text(path, preparation_to_json(preparation))


def read_preparation(path: Path) -> Preparation:
    """Read ``preparation.json``.

    Raises:
        OSError: it cannot be read.
        PreparationError: as :func:`preparation_from_json`.
    """
    return preparation_from_json(path.read_text(encoding="utf-8"))


def _to_plain(step: Step) -> dict[str, Any]:
    values = {name: list(v) if isinstance(v, tuple) else v for name, v in vars(step).items()}
    return {"step": step.name, **values}


def _step(number: int, plain: Any) -> Step:
    if not isinstance(plain, dict) or plain.get("step") not in STEPS:
        got = plain.get("step") if isinstance(plain, dict) else plain
        raise _bad(
            f"step {number}: expected one of {list(STEPS)}, got {got!r}",
            "correct the name, or use the version of nnunet_ext that wrote the file",
        )
    kind = STEPS[plain["step"]]
    where = f"step {number} ({kind.name})"
    _check_keys(plain, {"step", *(f.name for f in fields(kind))}, where)
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in plain.items() if name != "step"}
    return kind(**values)


def _check_keys(found: Mapping[str, Any], expected: set[str], where: str) -> None:
    if unknown := sorted(set(found) - expected):
        raise _bad(
            f"{where}: expected {sorted(expected)}, got unknown {unknown}",
            "correct the spelling, or use the version of nnunet_ext that wrote the file",
        )
    if missing := sorted(expected - set(found)):
        raise _bad(f"{where}: expected {sorted(expected)}, {missing} is missing", "write every parameter out")


def _check_types(step: Step, where: str) -> None:
    hints = typing.get_type_hints(type(step))
    for one in fields(step):
        value = getattr(step, one.name)
        if not _fits(value, hints[one.name]):
            raise _bad(
                f"{where}: expected {one.name} of type {one.type}, got {value!r}", "correct the parameter"
            )


def _fits(value: Any, kind: Any) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return value in arguments
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in arguments)
    if origin is tuple:
        kinds = [arguments[0]] * len(value) if len(arguments) == 2 and arguments[1] is ... else arguments
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_fits, value, kinds))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _bad(reason: str, remedy: str) -> PreparationError:
    return PreparationError("bad-record", reason, remedy)
