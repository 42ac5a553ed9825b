"""Which phantoms are written as clinics, and every defect that can be planted: data, no heavy imports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

NAMES = ("liver-target", "coronary", "coronary-cta", "whole-heart", "lower-limb", "brain-oar")
MODALITIES = ("CT", "MR")

_STRUCTURES = ("liver-target", "brain-oar")
_SERIES = (*_STRUCTURES, "lower-limb", "coronary-cta")
_VOLUMES = ("coronary", "whole-heart-ct", "whole-heart-mr")
# What is drawn as an image, whatever it is drawn on.
_LABEL_VOLUMES = ("coronary-cta", *_VOLUMES)
# From each clinic to the converter that reads it. A clinic is a phantom in its layout: whole-heart has one
# for each modality, coronary one as a challenge and one as a hospital keeps it.
CLINICS: Mapping[str, str] = MappingProxyType(
    {
        "liver-target": "liver-target",
        "coronary": "imagecas",
        "coronary-cta": "coronary-cta",
        "whole-heart-ct": "mmwhs-ct",
        "whole-heart-mr": "mmwhs-mr",
        "lower-limb": "lower-limb",
        "brain-oar": "brain-oar",
    }
)


@dataclass(frozen=True)
class Defect:
    """One thing that goes wrong in clinics.

    Attributes:
        name: as in ``nnunet_ext phantom NAME --defect``.
        clinics: in which it can be planted.
        expected: code with which the converter must refuse the case; "" where it must come out right.
        note: code of the note that a case which comes out right must have, "" for none.
        summary: what is done to the case.
    """

    name: str
    clinics: tuple[str, ...]
    expected: str
    summary: str
    note: str = ""


def _refused(name: str, clinics: Sequence[str], summary: str, *, code: str = "") -> Defect:
    return Defect(name, tuple(clinics), code or name, summary)


_ALL = (
    _refused("missing-slice", _SERIES, "a slice in the middle is not there"),
    Defect("duplicate-slice", _SERIES, "", "a slice is there twice, equal", note="duplicate-slice"),
    _refused("uneven-spacing", _SERIES, "the upper half lies 0.4 slice distances too high"),
    _refused("tilt", _SERIES, "the gantry was tilted by 12 degrees"),
    _refused("mixed-series", _SERIES, "coronal images have the series' SeriesInstanceUID"),
    _refused("truncated-file", (*_SERIES, *_VOLUMES), "an image file ends too early"),
    _refused("nan", _VOLUMES, "some voxels of the image are no numbers"),
    _refused(
        "hu-offset",
        (*_SERIES, "coronary", "whole-heart-ct"),
        "values are stored ones: the intercept of -1024 is lost",
    ),
    _refused(
        "label-grid",
        ("lower-limb", *_LABEL_VOLUMES),
        "the label lies half a voxel off, or has a row less (PNG)",
    ),
    _refused(
        "label-value",
        ("lower-limb", *_LABEL_VOLUMES),
        "the label holds a value that stands for nothing (gray PNG)",
    ),
    Defect(
        "stray-421",
        ("whole-heart-mr",),
        "",
        "some voxels of LA have the value 421, as in mr_train_1010",
        note="stray-421",
    ),
    _refused("empty-label", ("lower-limb", *_LABEL_VOLUMES), "the label is 0 everywhere"),
    _refused("identity-affine", _VOLUMES, "image and label have lost their geometry: 1 x 1 x 1 mm at 0"),
    _refused(
        "swapped-axes",
        _LABEL_VOLUMES,
        "the label's array was saved as (z, y, x) for (x, y, z)",
        code="label-grid",
    ),
    Defect("orientation", (*_SERIES, *_VOLUMES), "", "stored along other axes, at the same place"),
    _refused("missing-channel", (*_SERIES, *_VOLUMES), "an image is not there (the last one of several)"),
    _refused("unknown-name", _STRUCTURES, "a structure has a name that no table knows"),
    Defect(
        "duplicate-contour",
        _STRUCTURES,
        "",
        "a contour is there twice, equal",
        note="duplicate-contour",
    ),
    Defect("hole", _STRUCTURES, "", "a structure has a hole: a contour within a contour"),
    _refused("contour-outside", _STRUCTURES, "a structure lies beyond the image"),
    _refused("empty-roi", _STRUCTURES, "a structure is listed and has no contour"),
    _refused("broken-reference", _STRUCTURES, "the RTSTRUCT belongs to another frame of reference"),
    _refused("flipped-png", ("lower-limb",), "the PNGs count rows from below"),
    _refused("missing-png", ("lower-limb",), "the slice with most of the label has no PNG"),
    Defect("shared-patient", _SERIES, "", "the case is of the same patient as the first whole one"),
)
# Every defect by its name.
DEFECTS: Mapping[str, Defect] = MappingProxyType({defect.name: defect for defect in _ALL})


def clinic_of(name: str, *, modality: str | None = None) -> str:
    """The clinic of a phantom.

    Args:
        name: one of ``NAMES``.
        modality: ``CT`` or ``MR``, for whole-heart alone; None is CT.

    Raises:
        ValueError: there is no such phantom, or it is not made in that modality.

    Example:
        >>> clinic_of("coronary"), clinic_of("whole-heart", modality="MR")
        ('coronary', 'whole-heart-mr')
    """
    if name not in NAMES:
        raise ValueError(f"expected one of {', '.join(NAMES)}, got {name!r}")
    if name != "whole-heart":
        if modality is not None:
            raise ValueError(f"modality is for whole-heart alone, got {modality!r} for {name}")
        return name
    if modality not in (None, *MODALITIES):
        raise ValueError(f"modality must be one of {', '.join(MODALITIES)}, got {modality!r}")
    return f"whole-heart-{(modality or 'CT').lower()}"


def defects_of(clinic: str) -> tuple[str, ...]:
    """Names of the defects that can be planted in a clinic.

    Example:
        >>> "flipped-png" in defects_of("lower-limb"), "flipped-png" in defects_of("coronary")
        (True, False)
    """
    return tuple(name for name, defect in DEFECTS.items() if clinic in defect.clinics)


def require_defects(names: Sequence[str], *, clinic: str) -> None:
    """Raise unless each of these defects can be planted in a clinic.

    Raises:
        ValueError: with the list of those that can.

    Example:
        >>> require_defects(["tilt"], clinic="lower-limb")
    """
    possible = defects_of(clinic)
    if wrong := [name for name in names if name not in possible]:
        raise ValueError(
            f"{clinic} cannot have the defect {wrong[0]!r}; expected some of {', '.join(possible)}"
        )
