"""The verb ``plan``, for the two stages of a cascade."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunet_ext.presets import Preset
from nnunet_ext.trainers.registry import TRAINERS

if TYPE_CHECKING:
    from nnunet_ext.cascade.settings import Kind
    from nnunet_ext.planning.request import CoarseRequest

# Cascades by fine network: a trainer for each way to propose patches.
CASCADES = {
    (trainer.network.rpartition(".")[2], trainer.cascade): trainer for trainer in TRAINERS if trainer.cascade
}
COARSE_OPTIONS = ("coarse_spacing_mm", "coarse_grid", "fine_patch", "proposals", "group")


def add_coarse_arguments(group: argparse._ArgumentGroup) -> None:
    """Declare the options of cascades."""
    group.add_argument("--coarse", action="store_true", help="plan the two stages of a cascade")
    coarse = group.add_mutually_exclusive_group()
    coarse.add_argument(
        "--coarse-spacing-mm",
        type=float,
        nargs=3,
        metavar=("Z", "Y", "X"),
        help="spacing of the coarse stage in mm (twice the full one, where that is not so coarse already)",
    )
    coarse.add_argument(
        "--coarse-grid",
        type=int,
        nargs=3,
        metavar=("Z", "Y", "X"),
        help="instead: voxels that the median image is to have there",
    )
    group.add_argument(
        "--fine-patch", type=int, nargs=3, metavar=("Z", "Y", "X"), help="voxels; the largest that fits"
    )
    group.add_argument(
        "--proposals", choices=("skeleton", "roi"), help="patches along vessels, or boxes around organs"
    )
    group.add_argument(
        "--group",
        action="append",
        metavar="NAME=LABEL,...",
        help="roi: labels, by name or value, that share a box; may be repeated (dataset.json's roi_groups, "
        "or one box for all)",
    )


def wrong_coarse_value(args: argparse.Namespace) -> str:
    """What is wrong with the options of cascades, "" where nothing is."""
    given = [f"--{name.replace('_', '-')}" for name in COARSE_OPTIONS if getattr(args, name)]
    if given and not args.coarse:
        return f"{', '.join(given)} needs --coarse"
    if args.group and kind_of(args) != "roi":
        return "--group is for --proposals roi"
    malformed = [group for group in args.group or () if not all(group.partition("=")[::2])]
    return f"--group is NAME=LABEL,LABEL, got {malformed[0]}" if malformed else ""


def kind_of(args: argparse.Namespace) -> Kind:
    """How patches are proposed: as asked for, else as the network's cascade does."""
    kind: Kind = args.proposals or ("skeleton" if (args.network, "skeleton") in CASCADES else "roi")
    return kind


def coarse_request(args: argparse.Namespace, preset: Preset) -> CoarseRequest | None:
    """The stages that are asked for, and behind the options the preset's patch; None without ``--coarse``."""
    from nnunet_ext.planning.request import CoarseRequest

    if not args.coarse:
        return None
    patch = args.fine_patch or (preset.patch_size if len(preset.patch_size or ()) == 3 else None)
    groups = []
    for group in args.group or ():
        name, _, labels = group.partition("=")
        groups.append((name, tuple(int(v) if v.isdigit() else v for v in labels.split(","))))
    return CoarseRequest(
        kind=kind_of(args),
        spacing_mm=tuple(args.coarse_spacing_mm) if args.coarse_spacing_mm else None,
        grid=tuple(args.coarse_grid) if args.coarse_grid else None,
        fine_patch=tuple(patch) if patch else None,
        groups=tuple(groups),
    )
