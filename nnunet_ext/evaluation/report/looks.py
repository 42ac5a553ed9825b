"""Cases to look at: overlays in three planes, and surfaces that turn."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.evaluation.report.agreement import COLORS, WORDS
from nnunet_ext.evaluation.report.overlays import overlay_png
from nnunet_ext.evaluation.report.page import Key, Part, Picture, Plot, Text
from nnunet_ext.evaluation.report.scenes import scene_key, scene_of
from nnunet_ext.evaluation.report.shown import read_shown_case
from nnunet_ext.evaluation.structures import LabelTable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """A case to be shown.

    Attributes:
        title: why it is shown, and its score: ``"vanilla, worst case: hippocampus_001, Dice 0.71"``.
        name: of the case.
        prediction: label map.
        reference: label map.
        image: first channel; None where it is not at hand.
    """

    title: str
    name: str
    prediction: Path
    reference: Path
    image: Path | None


def parts_of(looks: Sequence[Look], *, table: LabelTable, tolerance_mm: float = 2.0) -> list[Part]:
    """Key, overlay and surfaces of each; a case that cannot be read is named in place of its picture.

    Args:
        looks: in their order.
        table: of the labels.
        tolerance_mm: surfaces agree up to this.
    """
    parts: list[Part] = [
        Key([(COLORS[kind], WORDS[kind]) for kind in COLORS]),
        Text(
            [
                "Slices lie where most is wrong. Borders of the reference are solid, those of the prediction "
                "dashed. The patient's right (R) is on the left of axial and coronal slices."
            ]
        ),
    ]
    for look in looks:
        parts += _parts(look, table, tolerance_mm)
    return parts


def _parts(look: Look, table: LabelTable, tolerance_mm: float) -> list[Part]:
    try:
        case = read_shown_case(look.prediction, name=look.name, reference=look.reference, image=look.image)
        overlay = overlay_png(case, ignore=table.ignore)
        scene = scene_of(case, table, tolerance_mm=tolerance_mm)
    except (CaseError, OSError, ValueError) as error:
        logger.warning("%s is not shown: %s", look.name, error)
        return [Text([f"{look.title}: not shown, {error}"])]
    parts: list[Part] = [Picture(overlay, look.title)]
    if scene is not None:
        caption = "Turn it with a finger or the mouse; the names switch structures on and off."
        key = scene_key(tolerance_mm)
        parts.append(Plot(scene, caption, folded=f"3D: {look.title}", needs_3d=True, key=key))
    return parts
