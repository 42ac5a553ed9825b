"""How a cascade decides where to look, as plans and datasets say it.

In the plans' fine configuration:

    "nnunet_ext": {"proposals": {"kind": "roi", "groups": [
        {"name": "eyes", "labels": [3, 4], "size": [32, 96, 96], "fallback": [0.4, 0.2, 0.5]}]}}

``dataset.json`` may name groups for plans that have none: ``"roi_groups": {"eyes": ["eye left", 4]}``.
Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Literal, TypeAlias

# nnU-Net's names of the stages.
COARSE, FINE = "3d_lowres", "3d_cascade_fullres"
KEY = "nnunet_ext"
PROPOSALS = "proposals"
ROI_GROUPS = "roi_groups"
ORDERS = ("lexicographic", "greedy")
FOREGROUND = "foreground"

Kind = Literal["skeleton", "roi"]
MergeName = Literal["maximum", "gaussian"]
MERGES: Mapping[Kind, MergeName] = {"skeleton": "maximum", "roi": "gaussian"}


class OnEmpty(str, Enum):
    """What is done where the coarse network found nothing."""

    FULLSCAN = "fullscan"
    FALLBACK = "fallback"
    EMPTY = "empty"
    FAIL = "fail"


class ProposalSettingsError(ValueError):
    """The settings of proposals in plans or dataset.json make no sense."""


@dataclass(frozen=True)
class SkeletonProposals:
    """Patches along the skeleton of the coarse foreground (``skeleton_windows``).

    Attributes:
        margin: points this near to a patch's face are not struck out, (z, y, x); None is a quarter of it.
        order: ``lexicographic``, or ``greedy``: fewer patches.
        dilation: steps by which the coarse foreground grows before.
        complete: patches for all of the coarse foreground, not for its skeleton alone.
        per_class: a skeleton for each class instead of one for all.
    """

    margin: tuple[int, ...] | None = None
    order: Literal["lexicographic", "greedy"] = "lexicographic"
    dilation: int = 0
    complete: bool = True
    per_class: bool = False

    @property
    def kind(self) -> Kind:
        """As the plans spell it."""
        return "skeleton"

    @property
    def on_empty(self) -> OnEmpty:
        """A vessel may be anywhere."""
        return OnEmpty.FULLSCAN


@dataclass(frozen=True)
class RoiGroup:
    """Structures that one box is meant to hold.

    Attributes:
        name: of the group.
        labels: values in the coarse label map; empty for all of the foreground.
        size: of the box, (z, y, x) in voxels of the fine stage; None for its patch. No axis is smaller than
            the patch.
        fallback: center of the box relative to that of the body (``relative_center``), for a case in which
            nothing was found; None for the middle.
    """

    name: str
    labels: tuple[int, ...] = ()
    size: tuple[int, ...] | None = None
    fallback: tuple[float, ...] | None = None


@dataclass(frozen=True)
class RoiProposals:
    """A box around each group of structures (``group_windows``).

    Attributes:
        groups: at least one.
    """

    groups: tuple[RoiGroup, ...] = (RoiGroup(FOREGROUND),)

    @property
    def kind(self) -> Kind:
        """As the plans spell it."""
        return "roi"

    @property
    def on_empty(self) -> OnEmpty:
        """An organ lies where it lies in others."""
        return OnEmpty.FALLBACK


Proposals: TypeAlias = SkeletonProposals | RoiProposals


def settings_of(
    configuration: Mapping[str, Any], *, kind: Kind, dataset_json: Mapping[str, Any]
) -> Proposals:
    """The settings of a fine configuration; defaults where the plans say nothing.

    Args:
        configuration: of nnU-Net's plans, inheritance resolved.
        kind: of the trainer.
        dataset_json: labels, and perhaps ``roi_groups``.

    Raises:
        ProposalSettingsError: a setting is unknown or makes no sense; the message names it.

    Example:
        >>> labels = {"background": 0, "eye left": 1, "eye right": 2}
        >>> settings_of({}, kind="skeleton", dataset_json={"labels": labels}).order
        'lexicographic'
        >>> described = {"labels": labels, "roi_groups": {"eyes": ["eye left", 2]}}
        >>> settings_of({}, kind="roi", dataset_json=described).groups[0].labels
        (1, 2)
    """
    ours = configuration.get(KEY, {})
    field = ours.get(PROPOSALS, {}) if isinstance(ours, Mapping) else ours
    if not isinstance(field, Mapping):
        raise ProposalSettingsError(f"plans, {KEY}.{PROPOSALS}: expected settings by name, got {field!r}")
    given = dict(field)
    planned = given.pop("kind", kind)
    if planned != kind:
        raise ProposalSettingsError(
            f"the plans propose patches by {planned!r} and this trainer by {kind!r}: plan again with "
            f"--proposals {kind}, or use a trainer that proposes by {planned!r}"
        )
    if kind == "skeleton":
        return _skeleton(given)
    groups = given.pop("groups", None)
    _refuse_unknown(given, known=("kind", "groups"), where=f"{KEY}.{PROPOSALS}")
    if groups is None:
        groups = groups_of_dataset(dataset_json)
    return RoiProposals(_groups(groups, dataset_json))


def as_field(settings: Proposals) -> dict[str, Any]:
    """The entry of a configuration in plans; :func:`settings_of` reads it back.

    Example:
        >>> as_field(SkeletonProposals(dilation=2))["nnunet_ext"]["proposals"]["dilation"]
        2
    """
    return {KEY: {PROPOSALS: as_dict(settings)}}


def as_dict(settings: Proposals) -> dict[str, Any]:
    """The settings with their kind."""
    return {"kind": settings.kind, **asdict(settings)}


def groups_of_dataset(dataset_json: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The groups that ``dataset.json`` names, as plans hold them; one of all foreground where it names none.

    Raises:
        ProposalSettingsError: a group names a label that there is not, or none.
    """
    named = dataset_json.get(ROI_GROUPS)
    if named is None:
        return [{"name": FOREGROUND, "labels": []}]
    if not isinstance(named, Mapping) or not named:
        raise ProposalSettingsError(
            f'dataset.json, {ROI_GROUPS}: expected {{"eyes": ["eye left", "eye right"]}}, got {named!r}'
        )
    groups = [
        {"name": name, "labels": label_values(labels, dataset_json, where=f"{ROI_GROUPS}.{name}")}
        for name, labels in named.items()
    ]
    if empty := [group["name"] for group in groups if not group["labels"]]:
        raise ProposalSettingsError(f"dataset.json, {ROI_GROUPS}: expected labels in {empty[0]!r}, got none")
    return groups


def label_values(labels: Any, dataset_json: Mapping[str, Any], *, where: str) -> list[int]:
    """Labels, given by name or by value, as values; a region is all values that it holds.

    Raises:
        ProposalSettingsError: there is no such label.

    Example:
        >>> label_values(["whole", 3], {"labels": {"whole": [1, 2], "core": 3}}, where="--group")
        [1, 2, 3]
    """
    known = dataset_json["labels"]
    if isinstance(labels, str | int):
        labels = [labels]
    found: set[int] = set()
    for label in labels if isinstance(labels, Sequence) else [labels]:
        is_name = isinstance(label, str) and label in known
        value = known[label] if is_name else label
        values = value if is_name and isinstance(value, Sequence) else [value]
        is_label = is_name or type(label) is int
        if not is_label or not set(values) <= set(foreground_values(dataset_json)):
            raise ProposalSettingsError(
                f"{where}: there is no foreground label {label!r}, but {dict(known)}: name one of these"
            )
        found |= {int(v) for v in values}
    return sorted(found)


def foreground_values(dataset_json: Mapping[str, Any]) -> list[int]:
    """Values of label maps that are foreground; those of regions too, the ignore label not.

    Example:
        >>> foreground_values({"labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}})
        [1, 2]
    """
    found: set[int] = set()
    for name, value in dataset_json["labels"].items():
        if name != "ignore":
            found |= {int(v) for v in (value if isinstance(value, Sequence) else [value])}
    return sorted(found - {0})


def _skeleton(given: dict[str, Any]) -> SkeletonProposals:
    _refuse_unknown(given, known=SkeletonProposals.__dataclass_fields__, where=f"{KEY}.{PROPOSALS}")
    margin = given.get("margin")
    if margin is not None:
        given["margin"] = _triple(margin, where="margin", least=0)
    if given.get("order", ORDERS[0]) not in ORDERS:
        raise ProposalSettingsError(f"proposals, order: expected one of {ORDERS}, got {given['order']!r}")
    dilation = given.get("dilation", 0)
    if type(dilation) is not int or dilation < 0:
        raise ProposalSettingsError(f"proposals, dilation: expected steps of 0 or more, got {dilation!r}")
    for switch in ("complete", "per_class"):
        if not isinstance(given.get(switch, True), bool):
            raise ProposalSettingsError(f"proposals, {switch}: expected true or false, got {given[switch]!r}")
    return SkeletonProposals(**given)


def _groups(groups: Any, dataset_json: Mapping[str, Any]) -> tuple[RoiGroup, ...]:
    if not isinstance(groups, Sequence) or not groups:
        raise ProposalSettingsError(f"proposals, groups: expected at least one group, got {groups!r}")
    found = []
    for group in groups:
        if not isinstance(group, Mapping):
            raise ProposalSettingsError(f"proposals, groups: expected settings by name, got {group!r}")
        _refuse_unknown(group, known=RoiGroup.__dataclass_fields__, where="groups")
        name = str(group.get("name", FOREGROUND))
        size, fallback = group.get("size"), group.get("fallback")
        if fallback is not None and not _are_three(fallback, int | float, least=0, most=1):
            raise ProposalSettingsError(
                f"proposals, group {name}, fallback: expected three numbers from 0 to 1, got {fallback}"
            )
        labels = label_values(group.get("labels", []), dataset_json, where=f"proposals, group {name}")
        found.append(
            RoiGroup(
                name,
                tuple(labels),
                None if size is None else _triple(size, where=f"group {name}, size", least=1),
                None if fallback is None else tuple(float(f) for f in fallback),
            )
        )
    names = [group.name for group in found]
    if len(set(names)) < len(names):
        raise ProposalSettingsError(f"proposals, groups: expected names of their own, got {names}")
    return tuple(found)


def _triple(value: Any, *, where: str, least: int) -> tuple[int, ...]:
    if not _are_three(value, int, least=least):
        raise ProposalSettingsError(
            f"proposals, {where}: expected three whole numbers of {least} or more, got {value!r}"
        )
    return tuple(value)


def _are_three(value: Any, kind: Any, *, least: float, most: float = float("inf")) -> bool:
    """Whether a value is a list of three numbers in a range."""
    return (
        isinstance(value, Sequence)
        and len(value) == 3
        and all(isinstance(n, kind) and not isinstance(n, bool) and least <= n <= most for n in value)
    )


def _refuse_unknown(given: Any, *, known: Iterable[str], where: str) -> None:
    unknown = set(given) - set(known)
    if unknown:
        raise ProposalSettingsError(f"plans, {where}: {sorted(unknown)} is unknown; known are {list(known)}")
