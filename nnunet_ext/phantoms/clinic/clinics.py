"""Each clinic's layout, and what can go wrong with it."""

from __future__ import annotations

from collections.abc import Mapping

from nnunet_ext.phantoms.clinic import png_defects, series_defects, structure_defects, volume_defects
from nnunet_ext.phantoms.clinic.case import Damage, Layout
from nnunet_ext.phantoms.clinic.dicom_layout import DicomLayout
from nnunet_ext.phantoms.clinic.volume_layout import ImageCASLayout, MMWHSLayout

LAYOUTS: Mapping[str, Layout] = {
    "liver-target": DicomLayout("rtstruct"),
    "coronary": ImageCASLayout(),
    "coronary-cta": DicomLayout("volume"),
    "whole-heart-ct": MMWHSLayout("ct"),
    "whole-heart-mr": MMWHSLayout("mr"),
    "lower-limb": DicomLayout("png"),
    "brain-oar": DicomLayout("rtstruct"),
}
_OF_STRUCTURES = {**series_defects.DAMAGE, **structure_defects.DAMAGE}
# For each clinic, from a defect's name to what plants it.
DAMAGE: Mapping[str, Mapping[str, Damage]] = {
    "liver-target": _OF_STRUCTURES,
    "coronary": volume_defects.DAMAGE,
    "coronary-cta": {**series_defects.DAMAGE, **volume_defects.OF_LABEL},
    "whole-heart-ct": volume_defects.DAMAGE,
    "whole-heart-mr": volume_defects.DAMAGE,
    "lower-limb": {**series_defects.DAMAGE, **png_defects.DAMAGE},
    "brain-oar": _OF_STRUCTURES,
}
