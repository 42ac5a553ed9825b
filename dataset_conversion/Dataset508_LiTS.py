"""Liver and liver tumor in CT: LiTS 2017, 131 patients with labels and 70 without (paper 004).

    nnunet_ext convert lits FOLDER --dataset-id 508
    nnunet_ext convert lits FOLDER --dataset-id 508 --target tumor

Where to get it: www.lits-challenge.com. License: see that page; not verified here. The Medical Segmentation
Decathlon has the same patients in one orientation and with their spacing: where you can choose, take
``msd-liver``.

Layout, in any depth: ``volume-0.nii`` to 130 with ``segmentation-0.nii``, in one folder or two, and
``test-volume-0.nii`` to 69, which go to imagesTs. Cases are called ``LiTS_000`` and ``LiTS_test_000``.

Quirks and what is done about them:

- Volumes 28 to 47 have an identity affine: somebody has lost their voxel size. Such a case is refused
  (``identity-affine``), unless ``--spacing-mm`` gives a size for these cases (z, y, x; others keep theirs;
  note ``given-spacing``). One size for twenty patients is a guess: convert them from their source if you can.
- Orientations differ from case to case: all come out as LPS, each voxel at its place in the world.
- Hidden files (``._volume-0.nii``) are passed over.
- Not everybody has a tumor: its place is then background.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK
from nnunet_ext.dataset_conversion import liver_tumor
from nnunet_ext.dataset_conversion.command import main
from nnunet_ext.dataset_conversion.declaration import Converter, Option, Options, ReadCase, SourceCase
from nnunet_ext.dataset_conversion.volume_cases import by_name, files_below, read_pair

from nnunet_ext.clinical_io import CaseError, Note

SPACING = Option(
    "--spacing-mm",
    {
        "type": float,
        "nargs": 3,
        "metavar": ("Z", "Y", "X"),
        "help": "voxel size of the cases whose files have lost it; others keep theirs",
    },
    may_differ=True,
)


def configure(converter: Converter, options: Options) -> Converter:
    """The converter with the labels of the target.

    Raises:
        ValueError: the voxel size is none.
    """
    spacing = options[SPACING.name]
    if spacing is not None and not all(math.isfinite(mm) and mm > 0 for mm in spacing):
        raise ValueError(f"{SPACING.flag} must be three lengths above 0, got {spacing}")
    return liver_tumor.configure(converter, options)


def discover(source: Path, options: Options) -> Sequence[SourceCase]:
    """Training and test cases, by their numbers.

    Raises:
        ValueError: there is no such folder.
    """
    files = files_below(source)
    training = by_name(files, r"(?:volume|segmentation)-(\d+)\.nii(?:\.gz)?")
    test = by_name(files, r"test-volume-(\d+)\.nii(?:\.gz)?")
    return [
        SourceCase(
            source=f"{prefix}volume-{number}",
            folder=found[0].parent,
            files=found,
            public_name=f"LiTS_{prefix.replace('-', '_')}{int(number):03d}",
            is_training=not prefix,
        )
        for prefix, cases in (("", training), ("test-", test))
        for number, found in sorted(cases.items(), key=lambda case: int(case[0]))
    ]


def read(case: SourceCase, options: Options) -> ReadCase:
    """CT and label of one patient."""
    found = read_pair(case, image="*volume-*", label="segmentation-*", channel="CT")
    if _has_lost_its_size(found.channels[0]):
        found = _with_spacing(found, options[SPACING.name])
    return liver_tumor.with_target(found, options)


def _has_lost_its_size(image: SimpleITK.Image) -> bool:
    """Voxels of 1 mm along the world's axes, whichever way these run: what an affine is before it is set."""
    axes = np.abs(np.reshape(image.GetDirection(), (3, 3)))
    return np.allclose(image.GetSpacing(), 1, atol=1e-6) and np.allclose(axes, np.eye(3), atol=1e-6)


def _with_spacing(found: ReadCase, spacing_mm: Sequence[float] | None) -> ReadCase:
    if spacing_mm is None:
        raise CaseError(
            "identity-affine",
            reason="the file says 1 x 1 x 1 mm along the world's axes, as if nobody had set its geometry",
            remedy=f"give the voxel size with {SPACING.flag} Z Y X, or leave the case out",
        )
    images = [*found.channels, *([] if found.label is None else [found.label])]
    for image in images:
        if _has_lost_its_size(image):
            image.SetSpacing([float(mm) for mm in reversed(spacing_mm)])
    size = " x ".join(f"{mm:g}" for mm in spacing_mm)
    note = Note("given-spacing", f"the file had lost its voxel size; {size} mm (z, y, x) was given")
    return replace(found, notes=(*found.notes, note))


CONVERTER = Converter(
    name="lits",
    title="LiTS",
    summary="LiTS 2017: liver and liver tumor in CT (paper 004)",
    channels=("CT",),
    labels=liver_tumor.LABELS,
    discover=discover,
    read=read,
    options=(liver_tumor.TARGET, SPACING),
    configure=configure,
    reference="LiTS, Liver Tumor Segmentation Challenge 2017",
)

if __name__ == "__main__":
    main("lits")
