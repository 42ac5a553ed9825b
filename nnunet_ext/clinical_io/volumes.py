"""Reads volumes from NIfTI, NRRD and MetaImage, refuses what is broken or means nothing, and writes them."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from nibabel.orientations import aff2axcodes
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray
from scipy.linalg import polar

from nnunet_ext.clinical_io.findings import CaseError, Note
from nnunet_ext.files import whole_file

NIFTI_ENDINGS = (".nii", ".nii.gz")
ENDINGS = (*NIFTI_ENDINGS, ".nrrd", ".nhdr", ".mha", ".mhd")
# From NIfTI's axes (x to the right, y to the front) to DICOM's and ITK's.
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Directions in single precision drift from a rotation by 1e-7, those that were typed or averaged by up to
# 1e-3 (SPEC D9). More is a shear, which no other format of the chain can say.
MAX_DRIFT = 1e-3
_TRUNCATED = "copy or download the file again"


@dataclass(frozen=True)
class Volume:
    """What a file or a series holds.

    Attributes:
        image: voxels with their geometry; (z, y, x) as an array.
        notes: what a person should know of it.
    """

    image: SimpleITK.Image
    notes: tuple[Note, ...] = ()


def read_volume(path: Path) -> Volume:
    """Read a volume of three dimensions.

    NIfTI goes through nibabel: ITK reads a file that was cut off without a word and leaves the rest of the
    image as memory happens to be. NRRD and MetaImage go through SimpleITK, which checks them.

    Args:
        path: a file with one of ``ENDINGS``.

    Returns:
        The image in its own orientation, whole numbers as whole numbers; of a header's texts nothing.

    Raises:
        CaseError: ``truncated-file``, ``unreadable``, ``not-3d``, ``sheared`` or ``ambiguous-geometry``.
        OSError: there is no such file, or it may not be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "a.nii.gz"
        ...     SimpleITK.WriteImage(SimpleITK.Image(4, 3, 2, SimpleITK.sitkInt16), str(file))
        ...     read_volume(file).image.GetSize()
        (4, 3, 2)
    """
    with path.open("rb"):  # SimpleITK reports a missing file as an unknown format
        pass
    return _read_nifti(path) if path.name.endswith(NIFTI_ENDINGS) else _read_with_itk(path)


def write_image(image: SimpleITK.Image, path: Path, *, staging: Path | None = None) -> None:
    """Write an image, compressed; the file appears when it is whole.

    Args:
        image: voxels with their geometry.
        path: where; the folder is made if missing; the ending picks SimpleITK's writer.
        staging: see :func:`~nnunet_ext.files.whole_file`.

    Raises:
        OSError: the file could not be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(SimpleITK.Image(4, 3, 2, SimpleITK.sitkInt16), Path(folder) / "7.img.nii.gz")
        ...     [file.name for file in Path(folder).iterdir()]
        ['7.img.nii.gz']
    """
    ending = next(e for e in (".nii.gz", path.suffix) if path.name.endswith(e))
    with whole_file(path, staging=staging) as temporary:
        # ITK takes 7.img.nii.gz for one half of a pair, and writes the other half alone.
        plain = temporary.with_name(f"volume{ending}")
        try:
            SimpleITK.WriteImage(image, str(plain), useCompression=True)
        except RuntimeError as error:  # SimpleITK's only exception
            raise OSError(
                f"could not write {path}: {error}; is the disk full or the folder read-only?"
            ) from error
        plain.rename(temporary)


def _read_with_itk(path: Path) -> Volume:
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:  # SimpleITK's only exception; its text holds the path
        raise CaseError(
            "truncated-file",
            reason=f"a {path.suffix} file is cut off or damaged: SimpleITK cannot read it",
            remedy=_TRUNCATED,
        ) from error
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:  # some OAR masks of HaN-Seg (SPEC D6)
        image = image[:, :, :, 0]
    _require_3d(image.GetSize(), components=image.GetNumberOfComponentsPerPixel())
    # Whoever wrote the file may have left a name there, and ITK would write notes into the next one.
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
    return Volume(image)


def _read_nifti(path: Path) -> Volume:
    try:
        file = Nifti1Image.from_filename(path)
        voxels = np.asanyarray(file.dataobj)
        _check_to_the_end(path)
    except (OSError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, ImageFileError) as error:
        if isinstance(error, PermissionError):
            raise
        raise CaseError(
            "truncated-file",
            reason=f"a NIfTI file is cut off or damaged ({type(error).__name__})",
            remedy=_TRUNCATED,
        ) from error
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    _require_3d(voxels.shape, components=1 if voxels.dtype.fields is None else len(voxels.dtype.fields))
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(_plain_numbers(voxels).T))
    notes = _set_nifti_geometry(image, file.header)
    return Volume(image, notes)


def _check_to_the_end(path: Path) -> None:
    """Read a compressed file to its checksum, which stands behind the last voxel."""
    if path.suffix == ".gz":
        with gzip.open(path) as stream:
            while stream.read(1 << 22):
                pass


def _require_3d(shape: tuple[int, ...], *, components: int) -> None:
    if len(shape) != 3 or components != 1 or min(shape) < 1:
        size = " x ".join(map(str, shape))
        raise CaseError(
            "not-3d",
            reason=f"expected a volume of three dimensions with one value a voxel, got {size} "
            f"with {components}",
            remedy="split the file into volumes",
        )


def _plain_numbers(voxels: NDArray[Any]) -> NDArray[Any]:
    """A type that every format of the chain knows; nothing is rounded."""
    if voxels.dtype.kind == "f":
        return voxels.astype(np.float32 if voxels.dtype.itemsize <= 4 else np.float64)
    return voxels.astype(voxels.dtype.newbyteorder("="))


def _set_nifti_geometry(image: SimpleITK.Image, header: Nifti1Header) -> tuple[Note, ...]:
    matrix, notes = _nifti_affine(header)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.isfinite(matrix).all() or spacing.min() <= 0:
        raise CaseError(
            "unreadable",
            reason="the NIfTI header gives no geometry: its affine is not finite or is singular",
            remedy="write the file again from its source",
        )
    direction = matrix[:3, :3] / spacing
    rotation, _ = polar(direction)
    drift = float(np.abs(rotation - direction).max())
    if drift > MAX_DRIFT:
        raise CaseError(
            "sheared",
            reason=f"the axes of the NIfTI file are not at right angles (by {drift:.2g}, allowed "
            f"{MAX_DRIFT:g})",
            remedy="resample the image onto a rectangular grid",
        )
    if drift > 1e-5:
        notes = (*notes, Note("drift", f"axes were {drift:.1e} off right angles and were straightened"))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    image.SetDirection(rotation.ravel().tolist())
    return notes


def _nifti_affine(header: Nifti1Header) -> tuple[NDArray[np.float64], tuple[Note, ...]]:
    """Affine to LPS. NIfTI may hold two; where their orientations differ, nobody knows which is right."""
    sform, qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    best = RAS_TO_LPS @ np.asarray(header.get_best_affine(), dtype=np.float64)
    if not sform and not qform:
        return best, (Note("no-geometry", "the NIfTI header names no frame; directions are a guess"),)
    if not (sform and qform):
        return best, ()
    try:
        other = RAS_TO_LPS @ np.asarray(header.get_qform(), dtype=np.float64)
    except HeaderDataError:  # a quaternion that is none
        return best, (Note("no-geometry", "the NIfTI header's qform is no rotation; its sform was taken"),)
    if aff2axcodes(best) != aff2axcodes(other):
        raise CaseError(
            "ambiguous-geometry",
            reason="the NIfTI header holds two orientations (sform and qform) that differ",
            remedy="set the wrong one's code to 0, or make both equal",
        )
    apart_mm = float(np.abs(best - other).max())
    if apart_mm > 0.1:
        return best, (
            Note("two-geometries", f"sform and qform differ by up to {apart_mm:.2g} mm; the sform was taken"),
        )
    return best, ()
