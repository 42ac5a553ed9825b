"""Phantom ``liver-target``: abdominal CT with a low-contrast lesion in the liver, the radiotherapy target.

Stands in for the 50 patients of paper 004 (RAS U-Net), whose images are not public.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nnunet_ext.phantoms.ct import Tissue, scan
from nnunet_ext.phantoms.dataset import write_raw_dataset
from nnunet_ext.phantoms.liver import paint_lesion, paint_patient, place_of_lesion
from nnunet_ext.phantoms.phantom import Phantom, checked_geometry
from nnunet_ext.phantoms.shapes import Grid

# Paper 004: about 1 mm in plane, 3 mm slices, 272 x 272 pixels. 64 slices (192 mm) hold a liver; the paper's
# 130 slices reach from head to chest.
PAPER_SPACING_MM = (3.0, 1.0, 1.0)
DEFAULT_SIZE_VOX = (64, 272, 272)
LABELS = {"background": 0, "target": 1}


def make_liver_target(
    *,
    seed: int,
    size_vox: Sequence[int] = DEFAULT_SIZE_VOX,
    spacing_mm: Sequence[float] = PAPER_SPACING_MM,
) -> Phantom:
    """Synthetic abdominal CT whose label 1 (``target``, the GTV) is a lobulated lesion in the liver.

    Reference:
        Zhang et al., Chinese Journal of Medical Physics 42(7), 2025 (paper 004): CT of about 1 x 1 x 3 mm,
        read through the window [-150, 150] HU.

    Differences from the paper:
        - synthetic anatomy; the paper's patients are not public and their number of targets is not stated.
        - the anatomy fills the field of view ``size_vox * spacing_mm`` whatever its size in mm, so that tests
          and the demo see a whole patient in a small volume.

    The lesion is 25 to 50 HU darker than the liver on average, with a soft border. Bowel, stomach wall and
    muscle share its attenuation, so a threshold cannot find it. One seed is one patient at every grid; only
    noise and blur follow the voxels.

    Args:
        seed: whole number >= 0 that decides everything random.
        size_vox: voxels along (z, y, x), each >= 12 (a smaller grid may miss the lesion).
        spacing_mm: voxel size along (z, y, x) in mm, > 0.

    Returns:
        The phantom: image in HU, label, tissue map and spacing.

    Raises:
        ValueError: seed, size or spacing is outside its range.
        TypeError: seed or size is not a whole number.

    Example:
        >>> phantom = make_liver_target(seed=7, size_vox=(16, 32, 32), spacing_mm=(12, 12, 12))
        >>> phantom.image.shape, phantom.image.dtype, phantom.label.max()
        ((16, 32, 32), dtype('int16'), np.uint8(1))
    """
    size, spacing = checked_geometry(seed=seed, size_vox=size_vox, spacing_mm=spacing_mm)
    patient, lesion, noise = np.random.SeedSequence(seed).spawn(3)
    center, depth = place_of_lesion(patient, np.random.default_rng(lesion))
    grid = Grid.of_size(size)
    canvas, liver_hu = paint_patient(grid, np.random.default_rng(patient))
    paint_lesion(
        canvas, grid, np.random.default_rng(lesion.spawn(1)[0]), center=center, depth=depth, liver_hu=liver_hu
    )
    noise_rng = np.random.default_rng(noise)
    image = scan(canvas.hu, noise_rng, spacing_mm=spacing, noise_hu_at_3_mm3=float(noise_rng.uniform(10, 16)))
    return Phantom(
        name="liver-target",
        seed=int(seed),
        image=image,
        label=(canvas.tissue == Tissue.TARGET).astype(np.uint8),
        tissue=canvas.tissue,
        spacing_mm=spacing,
    )


def write_liver_target_dataset(
    *,
    out: Path,
    cases: int,
    seed: int,
    test_cases: int = 0,
    dataset_id: int = 4,
    size_vox: Sequence[int] = DEFAULT_SIZE_VOX,
    spacing_mm: Sequence[float] = PAPER_SPACING_MM,
    progress: bool = True,
) -> Path:
    """Write ``cases`` training and ``test_cases`` unseen phantoms as an nnU-Net raw dataset.

    A case's patient depends on ``seed``, on whether it is unseen, and on its number, so more training cases
    change neither the ones before nor the unseen ones.

    Args:
        out: folder that holds nnU-Net raw datasets (``nnUNet_raw``); made if missing.
        cases: number of training cases, >= 1.
        seed: whole number >= 0.
        test_cases: number of unseen cases, >= 0 (``imagesTs`` with references in ``labelsTs``).
        dataset_id: number of the dataset, 1 to 999.
        size_vox: voxels along (z, y, x), each >= 12.
        spacing_mm: voxel size along (z, y, x) in mm, > 0.
        progress: show a progress bar on stderr.

    Returns:
        The dataset's folder, ``out/DatasetNNN_LiverTargetPhantom``.

    Raises:
        ValueError: an argument is outside its range, or the folder holds something else than this dataset.
        TypeError: a whole number was expected.
        OSError: a file could not be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dataset = write_liver_target_dataset(
        ...         out=Path(folder), cases=1, seed=0, size_vox=(12, 16, 16), progress=False
        ...     )
        ...     sorted(p.name for p in dataset.rglob("*.*"))
        ['dataset.json', 'liver_000.nii.gz', 'liver_000_0000.nii.gz']
    """
    size, spacing = checked_geometry(seed=seed, size_vox=size_vox, spacing_mm=spacing_mm)

    def make(case_seed: int) -> Phantom:
        return make_liver_target(seed=case_seed, size_vox=size, spacing_mm=spacing)

    return write_raw_dataset(
        make=make,
        out=out,
        title="LiverTargetPhantom",
        prefix="liver",
        labels=LABELS,
        cases=cases,
        test_cases=test_cases,
        dataset_id=dataset_id,
        seed=int(seed),
        record={"name": "liver-target", "size_vox": list(size), "spacing_mm": list(spacing)},
        progress=progress,
    )
