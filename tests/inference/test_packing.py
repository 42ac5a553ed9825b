"""A packed model is whole, is checked where it arrives, and never replaces another silently."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import Tiny

from nnunet_ext.inference.model import ModelError, load_model
from nnunet_ext.inference.packing import MANIFEST, Part, install, pack

DATASET = "Dataset990_tiny"


@pytest.fixture
def folder(model_folder: Callable[[Tiny], Path]) -> Path:
    return model_folder(Tiny(folds=(0, 1)))


def test_installed_elsewhere_it_is_the_same_model(folder: Path, tmp_path: Path) -> None:
    done = pack([Part("model", folder)], tmp_path / "model.zip")
    assert (done.dataset, done.parts) == (DATASET, {"model": folder.name})
    assert install(done.file, tmp_path / "results").n_bytes == done.n_bytes
    there = tmp_path / "results" / DATASET / folder.name
    assert load_model(there).checksums() == load_model(folder).checksums()
    assert [p.name for p in (tmp_path / "results").iterdir()] == [DATASET]
    assert install(done.file, tmp_path / "results").parts == done.parts  # once more changes nothing


def test_nnunets_own_installation_takes_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnunetv2.model_sharing import model_import

    file = pack([Part("model", folder, folds=(1,))], tmp_path / "model.zip").file
    monkeypatch.setattr(model_import, "nnUNet_results", str(tmp_path / "results"))
    model_import.install_model_from_zip_file(str(file))
    assert load_model(tmp_path / "results" / DATASET / folder.name).folds == (1,)


def test_two_parts_lie_side_by_side(folder: Path, tmp_path: Path) -> None:
    coarse = folder.with_name("nnUNetTrainer__nnUNetPlans__3d_lowres")
    shutil.copytree(folder, coarse)
    done = pack([Part("model", folder, (0,)), Part("coarse", coarse, (1,))], tmp_path / "model.zip")
    assert done.parts == {"model": folder.name, "coarse": coarse.name}
    install(done.file, tmp_path / "results")
    assert (tmp_path / "results" / DATASET / coarse.name / "fold_1" / "checkpoint_final.pth").is_file()
    assert not (tmp_path / "results" / DATASET / folder.name / "fold_1").exists()


def test_another_model_of_that_name_is_left_alone(folder: Path, tmp_path: Path) -> None:
    file = pack([Part("model", folder)], tmp_path / "model.zip").file
    there = tmp_path / "results" / DATASET / folder.name
    install(file, tmp_path / "results")
    (there / "fold_0" / "checkpoint_final.pth").write_bytes(b"a longer training")
    with pytest.raises(ModelError, match="is there and differs"):
        install(file, tmp_path / "results")
    assert (there / "fold_0" / "checkpoint_final.pth").read_bytes() == b"a longer training"
    install(file, tmp_path / "results", overwrite=True)
    assert load_model(there).checksums() == load_model(folder).checksums()


def rewritten(file: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> Path:
    with zipfile.ZipFile(file) as old:
        content = [change(name, old.read(name)) for name in old.namelist()]
    other = file.with_name("other.zip")
    with zipfile.ZipFile(other, "w") as new:
        for entry in content:
            if entry is not None:
                new.writestr(*entry)
    return other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, b: (n, b[:-1] + b"x") if n.endswith("fold_0/checkpoint_final.pth") else (n, b), "damaged"),
        (
            lambda n, b: None if n.endswith("fold_0/checkpoint_final.pth") else (n, b),
            "expected .* found none",
        ),
        (lambda n, b: None if n.endswith(MANIFEST) else (n, b), "nnUNetv2_install_pretrained_model_from_zip"),
    ],
)
def test_damaged_files_install_nothing(
    folder: Path,
    tmp_path: Path,
    change: Callable[[str, bytes], tuple[str, bytes] | None],
    message: str,
) -> None:
    file = rewritten(pack([Part("model", folder)], tmp_path / "model.zip").file, change)
    with pytest.raises(ModelError, match=message):
        install(file, tmp_path / "results")
    assert not list((tmp_path / "results").glob("*/*"))


def test_no_zip_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_text("no zip")
    with pytest.raises(ModelError, match="cannot be read"):
        install(tmp_path / "model.zip", tmp_path / "results")


@pytest.mark.parametrize("name", ["../../outside.txt", "/tmp/outside.txt", f"{DATASET}/another/plans.json"])
def test_nothing_is_written_outside_the_model(folder: Path, tmp_path: Path, name: str) -> None:
    def plant(entry: str, content: bytes) -> tuple[str, bytes]:
        if not entry.endswith(MANIFEST):
            return entry, content
        manifest = json.loads(content)
        manifest["sha256"][name] = "0"
        return entry, json.dumps(manifest).encode()

    file = rewritten(pack([Part("model", folder)], tmp_path / "model.zip").file, plant)
    with pytest.raises(ModelError, match="do not trust it"):
        install(file, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_what_is_incomplete_is_not_packed(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"expected checkpoint_best\.pth"):
        pack([Part("model", folder, checkpoint="checkpoint_best.pth")], tmp_path / "model.zip")
    with pytest.raises(ModelError, match="fold_4"):
        pack([Part("model", folder, folds=(0, 4))], tmp_path / "model.zip")
    with pytest.raises(ModelError, match="expected a trained model"):
        pack([Part("model", tmp_path)], tmp_path / "model.zip")
    assert not (tmp_path / "model.zip").exists()
