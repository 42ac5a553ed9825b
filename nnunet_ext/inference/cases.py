"""Cases to predict: their files, by nnU-Net's names, and their preprocessing by nnU-Net's preprocessor."""

from __future__ import annotations

import gzip
import io
import re
import time
import zlib
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot
from nnunetv2.utilities.utils import create_lists_from_splitted_dataset_folder
from torch import Tensor

from nnunet_ext.inference.memory import PeakMemory
from nnunet_ext.inference.model import Model

_BLOCK_BYTES = 1 << 24


class CaseError(Exception):
    """One case cannot be predicted.

    Args:
        reason: what was expected and what came.
        remedy: what to do.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason, remedy)
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


@dataclass(frozen=True)
class CaseFiles:
    """Files of one case.

    Attributes:
        name: of the label map that will be written, without ending.
        images: one file for each channel, in order.
        previous_stage: label map of the previous stage, for a network that reads it.
    """

    name: str
    images: tuple[Path, ...]
    previous_stage: Path | None = None


@dataclass(frozen=True)
class PreparedCase:
    """A case as the network wants it.

    Attributes:
        files: where it came from.
        data: (C, z, y, x) in float32: transposed, cropped, normalized and resampled.
        properties: nnU-Net's: spacing, shapes and box of the crop, and the reader's geometry.
        seconds: that it took.
        coarse: the same case as a cascade's coarse network wants it.
        peak_memory_mib: that preprocessing took in its process; None where unknown.
    """

    files: CaseFiles
    data: Tensor
    properties: dict[str, Any]
    seconds: float
    coarse: PreparedCase | None = None
    peak_memory_mib: float | None = None


@dataclass(frozen=True)
class Preparation:
    """What preprocessing needs of a model; it can be sent to another process.

    Attributes:
        plans_manager: nnU-Net's.
        configuration_manager: nnU-Net's.
        dataset_json: of the model.
        image_channels: files that a case must have.
        coarse: what the coarse model of a cascade needs.
    """

    plans_manager: Any
    configuration_manager: Any
    dataset_json: dict[str, Any]
    image_channels: int
    coarse: Preparation | None = None

    @classmethod
    def of(cls, model: Model) -> Preparation:
        """That of a model."""
        return cls(model.plans_manager, model.configuration_manager, model.dataset_json, model.image_channels)


def find_cases(
    source: Path | Sequence[Path], *, file_ending: str, previous_stage: Path | None = None
) -> list[CaseFiles]:
    """Cases of a folder or of single files, in nnU-Net's naming: ``CASE_0000.nii.gz``, one file a channel.

    Args:
        source: a folder, or files; a file without a number of the channel is a case of its own.
        file_ending: of the images, as in ``dataset.json``.
        previous_stage: folder with ``CASE.nii.gz`` of the previous stage.

    Returns:
        By name. A case whose files are incomplete is among them: it fails alone when it is prepared.

    Raises:
        ValueError: nothing to predict, or files with another ending.

    Example:
        >>> files = [Path(f"a_000{n}.nii.gz") for n in (0, 1)]
        >>> [(c.name, len(c.images)) for c in find_cases(files, file_ending=".nii.gz")]
        [('a', 2)]
    """
    if isinstance(source, Path):
        grouped = _cases_of_folder(source, file_ending)
    else:
        grouped = {}
        for file in source:
            if not file.name.endswith(file_ending):
                raise ValueError(f"expected files ending in {file_ending}, as the model's, got {file}")
            stem = file.name.removesuffix(file_ending)
            grouped.setdefault(re.sub(r"_\d{4}$", "", stem), []).append(file)
    if not grouped:
        raise ValueError(
            f"expected images CASE_0000{file_ending}, CASE_0001{file_ending}, ... in {source}, found none"
        )
    return [
        CaseFiles(
            name,
            tuple(sorted(grouped[name])),
            None if previous_stage is None else previous_stage / f"{name}{file_ending}",
        )
        for name in sorted(grouped)
    ]


def prepare_case(case: CaseFiles, preparation: Preparation) -> PreparedCase:
    """Read and preprocess one case with nnU-Net's preprocessor.

    Raises:
        CaseError: a file is missing or unreadable, channels do not fit together, intensities are not finite.
    """
    with PeakMemory() as peak:
        prepared = _prepared(case, preparation)
    return replace(prepared, peak_memory_mib=peak.mib)


def _prepared(case: CaseFiles, preparation: Preparation) -> PreparedCase:
    _check_files(case, preparation)
    start = time.perf_counter()
    configuration = preparation.configuration_manager
    preprocessor = configuration.preprocessor_class(verbose=False)
    # nnU-Net prints what is wrong with images and raises an exception without a text.
    try:
        with redirect_stdout(io.StringIO()) as said:
            data, segmentation, properties = preprocessor.run_case(
                [str(file) for file in case.images],
                None if case.previous_stage is None else str(case.previous_stage),
                preparation.plans_manager,
                configuration,
                preparation.dataset_json,
            )
    except MemoryError as error:
        raise CaseError("memory ran out in preprocessing", "use a machine with more memory") from error
    except Exception as error:  # whatever a file makes a library do, it is this case's alone
        text = " ".join((str(error) or said.getvalue()).split())
        raise CaseError(
            f"nnU-Net cannot read or preprocess it ({type(error).__name__}: {text[:500]})",
            "look at the files: " + ", ".join(str(file) for file in case.images),
        ) from error
    if case.previous_stage is not None:
        labels = preparation.plans_manager.get_label_manager(preparation.dataset_json).foreground_labels
        data = np.vstack((data, convert_labelmap_to_one_hot(segmentation[0], labels, data.dtype)))
    if not np.isfinite(np.sum(data, dtype=np.float64)):
        raise CaseError(
            "expected finite intensities, found nan or infinity in the image", "repair or export it again"
        )
    tensor = torch.from_numpy(np.ascontiguousarray(data, np.float32))
    coarse = None if preparation.coarse is None else _prepared(case, preparation.coarse)
    return PreparedCase(case, tensor, properties, time.perf_counter() - start, coarse)


def _cases_of_folder(folder: Path, file_ending: str) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise ValueError(f"expected a folder of images, found none at {folder}")
    lists = create_lists_from_splitted_dataset_folder(str(folder), file_ending, num_processes=1)
    grouped = {
        re.sub(r"_\d{4}$", "", Path(files[0]).name.removesuffix(file_ending)): [Path(f) for f in files]
        for files in lists
        if files
    }
    taken = {file for files in grouped.values() for file in files}
    for file in sorted(folder.glob(f"*{file_ending}")):
        if file not in taken and not file.name.startswith("."):
            grouped.setdefault(file.name.removesuffix(file_ending), []).append(file)
    return grouped


def _check_files(case: CaseFiles, preparation: Preparation) -> None:
    ending = preparation.dataset_json["file_ending"]
    wanted = [f"{case.name}_{channel:04d}{ending}" for channel in range(preparation.image_channels)]
    found = [file.name for file in case.images]
    alone = preparation.image_channels == 1 and found == [f"{case.name}{ending}"]
    if found != wanted and not alone:
        raise CaseError(
            f"expected {len(wanted)} file(s), one for each channel: {', '.join(wanted)}; "
            f"got {', '.join(found)}",
            "name the files by the channels of the model's dataset.json",
        )
    for file in (*case.images, *(() if case.previous_stage is None else (case.previous_stage,))):
        if not file.is_file():
            raise CaseError(f"expected the file {file}, found none", "put it there")
        _check_whole(file)


def _check_whole(file: Path) -> None:
    """SimpleITK reads a NIfTI file that is cut off as if nothing were missing."""
    try:
        if file.name.endswith(".gz"):
            with gzip.open(file) as stream:  # its end holds length and checksum
                while stream.read(_BLOCK_BYTES):
                    pass
        elif file.name.endswith(".nii"):
            header: Any = nibabel.load(file).header
            size = header.get_data_offset() + header.get_data_dtype().itemsize * prod(header.get_data_shape())
            if file.stat().st_size < size:
                raise EOFError(f"expected {size} bytes, found {file.stat().st_size}")
    except (EOFError, OSError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise CaseError(f"{file} is cut off or damaged ({error})", "copy or export it again") from error
