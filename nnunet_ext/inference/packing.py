"""A model in one file, with what it predicts with; nnU-Net's own installer takes it, too."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import nnunet_ext
from nnunet_ext.files import checksum, whole_file
from nnunet_ext.inference.model import FINAL, Fold, ModelError, available_folds

MANIFEST = "nnunet_ext_model.json"

# As nnU-Net's export has them; the first two must be there.
_OF_A_MODEL = ("plans.json", "dataset.json", "dataset_fingerprint.json")
_OF_A_FOLD = ("debug.json", "progress.png", "network_architecture.pdf", "validation/summary.json")
_OF_ALL_FOLDS = ("summary.json", "postprocessing.pkl", "postprocessing.json")


@dataclass(frozen=True)
class Part:
    """One trained model folder of a packed model.

    Attributes:
        role: what it is for: ``"model"`` or ``"coarse"``.
        folder: ``.../DATASET/TRAINER__PLANS__CONFIGURATION``.
        folds: to pack; None for those that have the checkpoint.
        checkpoint: file name of the checkpoints.
        attached: further files, by their path in the model's folder.
    """

    role: str
    folder: Path
    folds: tuple[Fold, ...] | None = None
    checkpoint: str = FINAL
    attached: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Packed:
    """What was packed or installed.

    Attributes:
        file: the zip.
        dataset: name of the dataset.
        parts: name of each part's folder, by role.
        n_bytes: of all files before packing.
    """

    file: Path
    dataset: str
    parts: dict[str, str]
    n_bytes: int


def pack(parts: Sequence[Part], file: Path) -> Packed:
    """Write models of one dataset into a zip, laid out as nnU-Net's export lays them out.

    Images, label maps and validation predictions stay behind. A manifest lists every file with its SHA-256.

    Args:
        parts: the model, and what it predicts with.
        file: to write, whole or not at all.

    Raises:
        ModelError: a part is incomplete, or the parts are of different datasets.
        OSError: something cannot be read or written.
    """
    datasets = {_dataset_of(part.folder) for part in parts}
    if len(datasets) != 1:
        raise ModelError(f"expected parts of one dataset, got {sorted(datasets)}")
    (dataset,) = datasets
    files = {
        str(PurePosixPath(dataset, part.folder.name, name)): found
        for part in parts
        for name, found in _files_of(part)
    }
    manifest = {
        "nnunet_ext": nnunet_ext.__version__,
        "dataset": dataset,
        "parts": {part.role: part.folder.name for part in parts},
        "sha256": {name: checksum(found) for name, found in sorted(files.items())},
    }
    with whole_file(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        inside = PurePosixPath(dataset, parts[0].folder.name, MANIFEST)
        archive.writestr(str(inside), json.dumps(manifest, indent=1) + "\n")
        for name, found in sorted(files.items()):
            # Weights do not become smaller.
            kind = zipfile.ZIP_STORED if found.suffix == ".pth" else zipfile.ZIP_DEFLATED
            archive.write(found, name, compress_type=kind)
    return _packed(file, manifest, sum(found.stat().st_size for found in files.values()))


def install(file: Path, results: Path, *, overwrite: bool = False) -> Packed:
    """Unpack a zip of :func:`pack` into ``nnUNet_results``, and check every file.

    Args:
        file: the zip.
        results: nnU-Net's folder of results.
        overwrite: replace model folders that are there and differ.

    Raises:
        ModelError: the file is no packed model, is damaged, or a folder is there already.
        OSError: something cannot be read or written.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = _manifest_of(archive, file)
            folders = [PurePosixPath(manifest["dataset"], name) for name in manifest["parts"].values()]
            if not overwrite:
                _refuse_others(folders, results, manifest)
            results.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=results, prefix=".installing-") as temporary:
                n_bytes = _extract(archive, manifest, Path(temporary), file)
                for folder in folders:
                    _put(Path(temporary, folder), results / folder, replaced=Path(temporary, "replaced"))
    except zipfile.BadZipFile as error:
        raise ModelError(f"{file} cannot be read ({error}): copy it again") from error
    return _packed(file, manifest, n_bytes)


def _packed(file: Path, manifest: dict[str, Any], n_bytes: int) -> Packed:
    return Packed(file, manifest["dataset"], dict(manifest["parts"]), n_bytes)


def _dataset_of(folder: Path) -> str:
    plans = folder / "plans.json"
    if not plans.is_file():
        raise ModelError(f"expected a trained model with plans.json in {folder}, found none")
    return str(json.loads(plans.read_text(encoding="utf-8"))["dataset_name"])


def _files_of(part: Part) -> Iterator[tuple[str, Path]]:
    """Files with their paths in the model's folder."""
    folds = part.folds or available_folds(part.folder, part.checkpoint)
    if not folds:
        raise ModelError(f"expected {part.checkpoint} of at least one fold in {part.folder}, found none")
    needed = [part.folder / name for name in _OF_A_MODEL[:2]]
    needed += [part.folder / f"fold_{fold}" / part.checkpoint for fold in folds]
    for file in (*needed, *part.attached.values()):
        if not file.is_file():
            raise ModelError(f"expected {file}, found none: finish the training, or choose other folds")
    optional = [part.folder / name for name in _OF_A_MODEL[2:]]
    optional += [part.folder / f"fold_{fold}" / name for fold in folds for name in _OF_A_FOLD]
    optional += [f / name for f in part.folder.glob("crossval_results_folds_*") for name in _OF_ALL_FOLDS]
    for file in (*needed, *(file for file in optional if file.is_file())):
        yield file.relative_to(part.folder).as_posix(), file
    yield from part.attached.items()


def _manifest_of(archive: zipfile.ZipFile, file: Path) -> dict[str, Any]:
    found = [name for name in archive.namelist() if PurePosixPath(name).name == MANIFEST]
    if len(found) != 1:
        raise ModelError(
            f"expected a model packed by nnunet_ext export-model in {file}, found no {MANIFEST}; "
            "nnUNetv2_install_pretrained_model_from_zip installs nnU-Net's own"
        )
    manifest: dict[str, Any] = json.loads(archive.read(found[0]))
    allowed = {PurePosixPath(manifest["dataset"], name) for name in manifest["parts"].values()}
    for name in manifest["sha256"]:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or PurePosixPath(*path.parts[:2]) not in allowed:
            raise ModelError(f"{file} wants to write {name!r}, outside its models' folders: do not trust it")
    return manifest


def _refuse_others(folders: Sequence[PurePosixPath], results: Path, manifest: dict[str, Any]) -> None:
    for folder in folders:
        there = results / folder
        if not there.exists():
            continue
        of_folder = {n: s for n, s in manifest["sha256"].items() if PurePosixPath(n).is_relative_to(folder)}
        same = all((results / n).is_file() and checksum(results / n) == s for n, s in of_folder.items())
        if not same:
            raise ModelError(f"{there} is there and differs: move it away, or install with --overwrite")


def _extract(archive: zipfile.ZipFile, manifest: dict[str, Any], folder: Path, file: Path) -> int:
    """Unpack what the manifest lists; returns the bytes."""
    n_bytes = 0
    present = set(archive.namelist())
    for name, expected in manifest["sha256"].items():
        if name not in present:
            raise ModelError(f"expected {name} in {file}, found none: the file is damaged, copy it again")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with archive.open(name) as stream, target.open("wb") as out:
            while block := stream.read(1 << 20):
                digest.update(block)
                n_bytes += out.write(block)
        if digest.hexdigest() != expected:
            raise ModelError(f"{name} in {file} is not what was packed: the file is damaged, copy it again")
    inside = PurePosixPath(manifest["dataset"], next(iter(manifest["parts"].values())), MANIFEST)
    (folder / inside).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return n_bytes


def _put(source: Path, target: Path, *, replaced: Path) -> None:
    """Move a folder to its place; what is there goes aside first, and is never half-gone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        replaced.mkdir(exist_ok=True)
        target.rename(replaced / target.name)
    source.rename(target)
