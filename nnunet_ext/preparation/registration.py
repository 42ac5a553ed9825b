"""MR onto CT: rigid, then optionally elastic, by mutual information; worse than before is refused."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_ext.files import whole_file
from nnunet_ext.preparation.deformation import jacobian_determinants
from nnunet_ext.preparation.errors import PreparationError
from nnunet_ext.preparation.geometry import Grid, check_volume
from nnunet_ext.preparation.optimization import elastic_stage, rigid_stage
from nnunet_ext.preparation.resampling import resample_image
from nnunet_ext.preparation.similarity import BoolArray, Pair, Placed, Start, working_pair
from nnunet_ext.preparation.threads import one_thread

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Registration:
    """A moving image on the grid of the fixed one.

    Attributes:
        image: the moved image, on the fixed grid, of the moving image's pixel type.
        transform: from points of the fixed image to points of the moving one, for :func:`write_transform`.
        start: what the search began with: the scanners' ``frames``, centers of the images (``geometry``) or
            of their intensities (``moments``).
        information_before: mutual information in nats in the scanners' frames, or at the start where the
            frames do not overlap.
        information_after: of the result, on the same voxels.
        overlap: share of the smaller of fixed mask and moving image that the other covers, 0 to 1.
        displacement_mm: mean over the voxels compared of how far the transform moves a point in the world: a
            case that stands out among its fellows is worth a look, whatever its mutual information.
        jacobian_range: least and greatest Jacobian determinant in the fixed mask; None for a rigid transform.
        moved: False where ``keep_frames`` kept the scanners' frames.
    """

    image: sitk.Image
    transform: sitk.Transform
    start: Start
    information_before: float
    information_after: float
    overlap: float
    displacement_mm: float
    jacobian_range: tuple[float, float] | None
    moved: bool = True


def register(
    fixed: sitk.Image,
    moving: sitk.Image,
    *,
    fixed_mask: sitk.Image | None = None,
    moving_mask: sitk.Image | None = None,
    fixed_range: tuple[float, float] | None = (-300.0, 500.0),
    elastic: bool = False,
    control_spacing_mm: float = 50.0,
    mask_margin_mm: float = 10.0,
    working_spacing_mm: float = 2.0,
    samples: int = 50_000,
    min_overlap: float = 0.25,
    keep_frames: bool = False,
    background: float = 0.0,
    seed: int = 1,
) -> Registration:
    """Find where an MR lies on a CT, and bring it there.

    Reference: paper 003: elastic registration of MR to CT. Mattes et al., PET-CT image registration in the
    chest using free-form deformations, 2003, doi 10.1109/TMI.2003.809072 (mutual information, B-splines);
    SimpleITK's registration framework.

    Differences from the paper: the method, which it does not give; rigid unless ``elastic`` is asked for, as
    a spline may move the very organs that are drawn on the CT.

    The search runs on both images at about ``working_spacing_mm``, from coarse to fine, and begins where
    mutual information is highest: in the scanners' frames, with the centers of the images on each other, or
    with the centers of their intensities. Mutual information is compared on every voxel of that grid that
    lies in the fixed mask and that the moving image covers before and after.

    Args:
        fixed: CT. Stays as it is, like all images.
        moving: MR.
        fixed_mask: body of the CT, non-zero inside, on its grid; None for all voxels.
        moving_mask: voxels of the MR that count, on its grid; None for all.
        fixed_range: HU that the CT is clipped to for the search, so that fat and muscle fall into different
            bins; None for no clipping.
        elastic: add a B-spline after the rigid transform.
        control_spacing_mm: of the spline's control points, > 0.
        mask_margin_mm: masks are widened by this, >= 0, so that the skin counts: inside the body alone
            nothing says where it ends.
        working_spacing_mm: voxels are averaged to about this, > 0.
        samples: voxels that the search looks at in each step, >= 1000.
        min_overlap: least share of the smaller of fixed mask and moving image that both cover, in (0, 1].
        keep_frames: where nothing better is found, keep the scanners' frames instead of refusing.
        background: value where the moved image has none.
        seed: of the random samples, >= 1.

    Raises:
        ValueError: a parameter outside its range.
        PreparationError: ``no-overlap``, ``registration-failed``, ``registration-worse``, ``folding``,
            ``grids-differ`` for a mask; or what :func:`check_volume` refuses.

    Example:
        >>> z, y, x = np.ogrid[:16, :32, :32]
        >>> ball = ((z - 8) / 6) ** 2 + ((y - 15) / 9) ** 2 + ((x - 16) / 12) ** 2 < 1
        >>> core = ((z - 8) / 3) ** 2 + ((y - 15) / 4) ** 2 + ((x - 18) / 5) ** 2 < 1
        >>> ct = sitk.GetImageFromArray((-300.0 + 350 * ball + 200 * core).astype(np.float32))
        >>> mr = sitk.GetImageFromArray((100.0 * ball - 60 * core).astype(np.float32))
        >>> mr.SetOrigin((3.0, 0.0, 0.0))
        >>> result = register(ct, mr, working_spacing_mm=1)
        >>> shift = result.transform.TransformPoint((16.0, 15.0, 8.0))[0] - 16
        >>> bool(2.5 < shift < 3.5), result.information_after > result.information_before
        (True, True)
    """
    _check_parameters(
        control_spacing_mm=control_spacing_mm,
        working_spacing_mm=working_spacing_mm,
        samples=samples,
        min_overlap=min_overlap,
        seed=seed,
    )
    check_volume(fixed, what="the fixed image")
    check_volume(moving, what="the moving image")
    pair = working_pair(
        fixed,
        moving,
        fixed_mask=fixed_mask,
        moving_mask=moving_mask,
        fixed_range=fixed_range,
        spacing_mm=working_spacing_mm,
        margin_mm=mask_margin_mm,
    )
    start, transform = _start(pair, min_overlap=min_overlap)
    frames = pair.placed(sitk.Transform(3, sitk.sitkIdentity))
    before = frames if pair.overlap(frames) >= min_overlap else pair.placed(transform)
    try:
        with one_thread():
            transform = rigid_stage(pair, transform, samples=samples, seed=seed)
            rigid = pair.placed(transform)
            if elastic:
                transform = elastic_stage(
                    pair, transform, samples=samples, seed=seed, control_spacing_mm=control_spacing_mm
                )
    except RuntimeError as error:  # SimpleITK's only exception
        raise PreparationError(
            "registration-failed",
            "expected a search that ends, got an error of ITK, most often because the images lost each other",
            "look at both images; give a mask of the body, or align them roughly first",
        ) from error
    after = pair.placed(transform)
    _check_overlap(pair.overlap(after), min_overlap)
    jacobians = _jacobian_range(pair, transform) if elastic else None

    moved = True
    information = _compared(pair, before, after, min_overlap=min_overlap)
    if elastic:
        _refuse_worse(_compared(pair, rigid, after, min_overlap=min_overlap), than="the rigid transform")
    if information[1] <= information[0]:
        if not (keep_frames and before is frames):
            _refuse_worse(information, than="the scanners' frames" if before is frames else "the start")
        logger.info("registration found nothing better than the scanners' frames, which are kept")
        moved, transform, after = False, sitk.Transform(3, sitk.sitkIdentity), frames
        information, jacobians = (information[0], information[0]), None

    logger.info(
        "registration from %s: mutual information %.3f before and %.3f after, overlap %.0f %%",
        start,
        *information,
        100 * pair.overlap(after),
    )
    return Registration(
        image=resample_image(moving, grid=Grid.of(fixed), background=background, transform=transform),
        transform=transform,
        start=start,
        information_before=information[0],
        information_after=information[1],
        overlap=pair.overlap(after),
        displacement_mm=pair.displacement_mm(transform, after),
        jacobian_range=jacobians,
        moved=moved,
    )


def write_transform(transform: sitk.Transform, path: Path) -> None:
    """Write a transform as ``.tfm``, which ITK, 3D Slicer and SimpleITK read; by rename.

    Args:
        transform: rigid, or rigid and spline.
        path: where, ending in ``.tfm``.

    Raises:
        ValueError: another ending.
        OSError: it could not be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_transform(sitk.Euler3DTransform(), Path(folder) / "T1w.tfm")
        ...     sitk.ReadTransform(str(Path(folder) / "T1w.tfm")).GetDimension()
        3
    """
    if path.suffix != ".tfm":
        raise ValueError(f"expected a path that ends in .tfm, got {path.name}")
    try:
        with whole_file(path) as temporary:
            sitk.WriteTransform(transform, str(temporary))
    except RuntimeError as error:  # SimpleITK's only exception
        raise OSError(
            f"could not write {path}: {error}; is the disk full or the folder read-only?"
        ) from error


def _check_parameters(
    *, control_spacing_mm: float, working_spacing_mm: float, samples: int, min_overlap: float, seed: int
) -> None:
    if not (control_spacing_mm > 0 and working_spacing_mm > 0 and samples >= 1000 and 0 < min_overlap <= 1):
        raise ValueError(
            "expected control_spacing_mm > 0, working_spacing_mm > 0, samples >= 1000 and min_overlap in "
            f"(0, 1], got {control_spacing_mm}, {working_spacing_mm}, {samples} and {min_overlap}"
        )
    if seed < 1:
        # SimpleITK takes the time of day for a seed of 0.
        raise ValueError(f"seed must be a whole number >= 1, got {seed}")


def _start(pair: Pair, *, min_overlap: float) -> tuple[Start, sitk.Transform]:
    """The start with the most mutual information; what covers little of the fixed mask says little."""
    starts = pair.starts()
    placed = {name: pair.placed(transform) for name, transform in starts.items()}
    overlaps = {name: pair.overlap(one) for name, one in placed.items()}
    _check_overlap(max(overlaps.values()), min_overlap)
    best = max(
        (name for name in starts if overlaps[name] >= min_overlap),
        key=lambda name: pair.information(placed[name]) * placed[name].voxels,
    )
    return best, starts[best]


def _compared(pair: Pair, before: Placed, after: Placed, *, min_overlap: float) -> tuple[float, float]:
    """Mutual information before and after, on the voxels that both cover."""
    common: BoolArray = before.where & after.where
    if common.sum() >= min_overlap * min(before.voxels, after.voxels):
        return pair.information(before, common), pair.information(after, common)
    # The image was carried away from where it lay: each is judged where it lies.
    return pair.information(before), pair.information(after)


def _check_overlap(overlap: float, min_overlap: float) -> None:
    if overlap < min_overlap:
        raise PreparationError(
            "no-overlap",
            f"expected fixed and moving image to share at least {min_overlap:.0%} of the smaller, got "
            f"{overlap:.1%}",
            "check that both images show the same part of the same patient; for a slab make min_overlap "
            "smaller",
        )


def _refuse_worse(information: tuple[float, float], *, than: str) -> None:
    before, after = information
    if after <= before:
        raise PreparationError(
            "registration-worse",
            f"expected more mutual information than with {than} ({before:.4f} nats), got {after:.4f}",
            "look at both images; if they lay well before, set keep_frames or leave the step out",
        )


def _jacobian_range(pair: Pair, transform: sitk.Transform) -> tuple[float, float]:
    determinants = jacobian_determinants(transform, Grid.of(pair.fixed))[pair.within]
    low, high = float(determinants.min()), float(determinants.max())
    if not (np.isfinite(low) and low > 0):
        folded = float((determinants <= 0).mean())
        raise PreparationError(
            "folding",
            f"expected Jacobian determinants > 0 in the body, got {low:.3f} to {high:.3f}, {folded:.2%} of "
            "the voxels folded",
            "make control_spacing_mm larger, or register without elastic",
        )
    return low, high
