"""What holds of every case before it is written, whatever it came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK
from nnunet_ext.dataset_conversion.declaration import Converter, ReadCase
from nnunet_ext.dataset_conversion.label_place import require_label_in_place
from numpy.typing import NDArray

from nnunet_ext.clinical_io import CaseError, Note
from nnunet_ext.clinical_io.grids import image_of, in_one_orientation, require_same_grid, with_grid_of

# What a scanner can give: padding goes down to -3024 (SPEC D3: -3000), metal up to 30000 on extended scales.
LOWEST_HU, _HIGHEST_HU = -3100, 32767
# Stored values without their intercept of -1024 have no air, and most of a body between 850 and 1250.
_AIR_HU, _STORED_TISSUE = -200, (850, 1250)
_STORED_SHARE = 0.02
# Fat and muscle alone are 150 HU apart, gray and white matter with their fluid 40. A picture has 256 grays.
_LEAST_RANGE_HU, _GRAY = 40, (0.0, 255.0)
# With the intercept applied twice there is nothing denser than air.
_LIGHTEST_BODY_HU = -300


@dataclass(frozen=True)
class CheckedCase:
    """One case as it will be written.

    Attributes:
        channels: images on one grid, in one orientation, of type int16 or float32.
        label: numbers of ``dataset.json`` on the same grid, None for a case without one.
        undrawn: labels that every patient has and that were not drawn in this one.
        notes: everything that a person should know.
    """

    channels: tuple[SimpleITK.Image, ...]
    label: SimpleITK.Image | None
    undrawn: tuple[str, ...]
    notes: tuple[Note, ...]


def checked(case: ReadCase, converter: Converter, *, accept_misplaced: bool = False) -> CheckedCase:
    """The case in the dataset's orientation, after every check.

    Args:
        case: what the converter read.
        converter: what it ought to be.
        accept_misplaced: note a label that seems misplaced, and go on.

    Raises:
        CaseError: ``missing-channel``, ``identity-affine``, ``channel-grid``, ``label-grid``, ``nan``,
            ``hu-offset``, ``label-value``, ``empty-label`` or ``misplaced-label``.
    """
    if len(case.channels) != len(converter.channels):
        raise CaseError(
            "missing-channel",
            reason=f"expected the channels {', '.join(converter.channels)}, got {len(case.channels)} images",
            remedy="add what is missing to the case's folder",
        )
    reference = in_one_orientation(case.channels[0])
    if not converter.may_lack_geometry:
        _refuse_lost_geometry(case.channels[0])
    channels = []
    for name, image in zip(converter.channels, case.channels, strict=True):
        turned = in_one_orientation(image)
        require_same_grid(
            turned,
            reference,
            what=f"the {name}",
            whose=f"the {converter.channels[0]}",
            code="channel-grid",
            remedy="bring the channels onto one grid with --preparation, see nnunet_ext prepare --help",
        )
        check_values(turned, name)
        channels.append(_smallest_type(turned, reference))
    label: SimpleITK.Image | None = None
    undrawn: tuple[str, ...] = ()
    notes = case.notes
    if case.label is not None:
        turned = in_one_orientation(case.label)
        require_same_grid(turned, reference, what="the label", whose=f"the {converter.channels[0]}")
        numbers = _checked_label(SimpleITK.GetArrayViewFromImage(turned), converter)
        undrawn = _undrawn(numbers, case, converter)
        label = image_of(numbers, reference)
        notes += require_label_in_place(label, channels, accept=accept_misplaced)
    return CheckedCase(tuple(channels), label, undrawn, notes)


def _refuse_lost_geometry(image: SimpleITK.Image) -> None:
    """Raise for what an affine is before anybody sets it: voxels of 1 mm along the world's axes from 0."""
    axes = np.abs(np.reshape(image.GetDirection(), (3, 3)))
    if (
        np.allclose(image.GetSpacing(), 1, atol=1e-6)
        and np.allclose(axes, np.eye(3), atol=1e-6)
        and np.allclose(image.GetOrigin(), 0, atol=1e-6)
    ):
        raise CaseError(
            "identity-affine",
            reason="the file says 1 x 1 x 1 mm from 0 along the world's axes, as if nobody had set them",
            remedy="write it again from its source, with its voxel size and place",
        )


def check_values(image: SimpleITK.Image, channel: str) -> None:
    """Raise for values that no image of a channel has.

    Args:
        image: one channel.
        channel: nnU-Net's name of it; ``"CT"`` has to be in Hounsfield units.

    Raises:
        CaseError: ``nan`` or ``hu-offset``.
    """
    values = SimpleITK.GetArrayViewFromImage(image)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = int(values.size - np.isfinite(values).sum())
        raise CaseError(
            "nan",
            reason=f"{count} voxels of the {channel} are no numbers",
            remedy="write the image again from its source",
        )
    if channel == "CT":
        _check_hounsfield(values)


def _check_hounsfield(values: NDArray[np.generic]) -> None:
    """Raise where the values cannot be Hounsfield units; what is merely unusual passes."""
    sample = np.asarray(values).ravel()[:: max(1, values.size // 2_000_000)]
    low, high = float(values.min()), float(values.max())
    if low < LOWEST_HU or high > _HIGHEST_HU:
        found = f"values run from {low:g} to {high:g}"
    elif (
        low > _AIR_HU
        and np.mean((sample >= _STORED_TISSUE[0]) & (sample <= _STORED_TISSUE[1])) > _STORED_SHARE
    ):
        found = (
            f"nothing is as light as air (lowest {low:g}), and much lies at {_STORED_TISSUE[0]} to "
            f"{_STORED_TISSUE[1]}: stored values without the intercept of -1024"
        )
    elif np.percentile(sample, 99.5) < _LIGHTEST_BODY_HU:
        found = f"99.5 % of the values are below {_LIGHTEST_BODY_HU}, lighter than any tissue"
    else:
        return
    raise _no_hounsfield(found)


def check_as_scanned(image: SimpleITK.Image, channel: str) -> None:
    """Raise for values that a CT has only once somebody has windowed or normalized it.

    Args:
        image: one channel as it came, before any preparation.
        channel: nnU-Net's name of it.

    Raises:
        CaseError: ``hu-offset``.

    Example:
        >>> try:
        ...     check_as_scanned(SimpleITK.GetImageFromArray(np.array([[[0.0, 0.5, 1.0]]])), "CT")
        ... except CaseError as error:
        ...     print(error.reason)
        the CT is not in Hounsfield units: values run from 0 to 1, as of a picture or of what was normalized
    """
    if channel != "CT":
        return
    values = SimpleITK.GetArrayViewFromImage(image)
    low, high = float(values.min()), float(values.max())
    if high - low < _LEAST_RANGE_HU or (low, high) == _GRAY:
        raise _no_hounsfield(
            f"values run from {low:g} to {high:g}, as of a picture or of what was normalized"
        )


def _no_hounsfield(found: str) -> CaseError:
    return CaseError(
        "hu-offset",
        reason=f"the CT is not in Hounsfield units: {found}",
        remedy="write the image with slope and intercept applied once",
    )


def _smallest_type(image: SimpleITK.Image, reference: SimpleITK.Image) -> SimpleITK.Image:
    """int16 where every value is one, else float32; on the grid of the reference, which is the same."""
    values = SimpleITK.GetArrayViewFromImage(image)
    limits = np.iinfo(np.int16)
    if values.dtype == np.int16:
        return image if image is reference else with_grid_of(image, reference)
    if values.min() >= limits.min and values.max() <= limits.max:
        whole = values.astype(np.int16)
        if values.dtype.kind in "iub" or np.array_equal(whole, values):
            return image_of(whole, reference)
    return image_of(values.astype(np.float32), reference)


def _checked_label(found: NDArray[np.generic], converter: Converter) -> NDArray[np.uint8]:
    names = [label.name for label in converter.labels]
    # A comparison a number is ten times faster than sorting the voxels.
    numbers = found.astype(np.uint8)
    is_declared = numbers <= len(names)
    is_declared &= numbers == found
    if not is_declared.all():
        strange = np.unique(found[~is_declared])
        shown = ", ".join(f"{float(value):g}" for value in strange[:5])
        raise CaseError(
            "label-value",
            reason=f"the label holds {shown}, expected whole numbers from 0 to {len(names)}",
            remedy="correct the label, or tell which structure is meant",
        )
    present = _present(numbers)
    for number, label in enumerate(converter.labels, start=1):
        if label.presence == "required" and number not in present:
            raise CaseError(
                "empty-label",
                reason=f"{label.name} has no voxel, and every case must have it",
                remedy="draw it, or leave the case out",
            )
    return numbers


def _undrawn(numbers: NDArray[np.uint8], case: ReadCase, converter: Converter) -> tuple[str, ...]:
    present = _present(numbers)
    return tuple(
        label.name
        for number, label in enumerate(converter.labels, start=1)
        if label.presence == "may_be_undrawn" and (label.name in case.undrawn or number not in present)
    )


def _present(numbers: NDArray[np.uint8]) -> set[int]:
    return set(np.flatnonzero(voxel_counts(numbers)).tolist())


def voxel_counts(numbers: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each number from 0 to 255 is there.

    Example:
        >>> voxel_counts(np.array([[[0, 2, 2]]], np.uint8))[:4].tolist()
        [1, 0, 2, 0]
    """
    # Most voxels are background, and counting takes eight bytes for each.
    drawn = numbers[numbers != 0]
    counts = np.bincount(drawn, minlength=256)
    counts[0] = numbers.size - drawn.size
    return counts
