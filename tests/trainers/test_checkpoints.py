"""Checkpoints appear whole or not at all, and often enough."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunet_ext.trainers.registry import SINGLE_STAGE
from nnunet_home import NnunetHome
from trainer_factory import make_trainer

NAME = "nnUNetTrainerRASUNet_1epochs_1iters"


def torch_load(path: Path) -> dict[str, object]:
    loaded: dict[str, object] = torch.load(path, weights_only=False)
    return loaded


@pytest.mark.parametrize(
    ("epochs", "every"), [(1, 1), (9, 1), (20, 2), (99, 9), (499, 49), (1000, 50), (4000, 50)]
)
def test_saves_every_tenth_of_the_run_and_at_least_every_50_epochs(
    preprocessed: NnunetHome, epochs: int, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    trainer = make_trainer(
        preprocessed,
        f"nnUNetTrainerRASUNet_{epochs}epochs",
        dataset="Dataset901_plain",
        monkeypatch=monkeypatch,
    )
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: None)
    Path(trainer.output_folder).mkdir(parents=True, exist_ok=True)
    trainer.on_train_start()
    assert trainer.save_every == every


def test_a_failing_save_leaves_the_last_checkpoint(
    preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(preprocessed, NAME, dataset="Dataset901_plain", monkeypatch=monkeypatch)
    trainer.initialize()
    path = Path(trainer.output_folder) / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(path))
    before = path.read_bytes()

    def full_disk(_checkpoint: object, filename: str) -> None:
        Path(filename).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        trainer.save_checkpoint(str(path))
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="looks at the file's mode as POSIX has it")
def test_a_checkpoint_is_flushed_through_a_file_open_for_writing(
    preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses to flush any other."""
    import fcntl

    trainer = make_trainer(preprocessed, NAME, dataset="Dataset901_plain", monkeypatch=monkeypatch)
    trainer.initialize()
    modes = []
    monkeypatch.setattr(os, "fsync", lambda file: modes.append(fcntl.fcntl(file, fcntl.F_GETFL)))
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_latest.pth"))
    assert [mode & os.O_ACCMODE for mode in modes] == [os.O_RDWR]


def test_what_a_killed_save_left_is_removed_at_the_next_start(
    preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(preprocessed, NAME, dataset="Dataset901_plain", monkeypatch=monkeypatch)
    partial = Path(trainer.output_folder) / "checkpoint_latest.pth.partial"
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(b"half")
    trainer.run_training()
    names = {path.name for path in partial.parent.glob("*.pth*")}
    assert names == {"checkpoint_best.pth", "checkpoint_final.pth"}


def test_disabled_checkpointing_writes_nothing(
    preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(preprocessed, NAME, dataset="Dataset901_plain", monkeypatch=monkeypatch)
    trainer.disable_checkpointing = True
    trainer.run_training()
    assert not list(Path(trainer.output_folder).glob("*.pth*"))


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
@pytest.mark.parametrize("name", [trainer.name for trainer in SINGLE_STAGE])
def test_goes_on_where_it_was_and_predicts_from_its_folder(
    preprocessed: NnunetHome, name: str, configuration: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (
        make_trainer(
            preprocessed,
            f"{name}_4epochs_1iters",
            dataset="Dataset901_plain",
            configuration=configuration,
            monkeypatch=monkeypatch,
        )
        for _ in range(2)
    )
    first.on_train_start()
    train_epochs(first, 2)
    checkpoint = Path(first.output_folder) / "checkpoint_latest.pth"
    second.load_checkpoint(str(checkpoint))
    assert second.current_epoch == 2
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)
    logits = predict_from_folder(first, checkpoint.name)
    first.set_deep_supervision_enabled(False)
    with torch.no_grad():
        expected = first.network.eval()(_patch(first)[None])[0]
    # nnU-Net weighs logits in half precision, by hardly anything towards the corners.
    middle = (slice(None), *(slice(n // 4, -(n // 4)) for n in expected.shape[1:]))
    torch.testing.assert_close(logits[middle].float(), expected[middle], rtol=5e-3, atol=5e-3)
    assert expected[middle].std() > 0.05


def train_epochs(trainer: Any, count: int) -> None:
    for _ in range(count):
        trainer.on_epoch_start()
        trainer.on_train_epoch_start()
        trainer.on_train_epoch_end([trainer.train_step(next(trainer.dataloader_train))])
        with torch.no_grad():
            trainer.on_validation_epoch_start()
            trainer.on_validation_epoch_end([trainer.validation_step(next(trainer.dataloader_val))])
        trainer.on_epoch_end()


def predict_from_folder(trainer: Any, checkpoint: str) -> torch.Tensor:
    """As ``nnUNetv2_predict``, without mirroring: of a volume as large as a patch, or of one slice."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), use_mirroring=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,), checkpoint)
    image = _patch(trainer)
    flat = image.ndim == 3
    predictor.network.load_state_dict(predictor.list_of_parameters[0])
    logits: torch.Tensor = predictor.predict_sliding_window_return_logits(image[:, None] if flat else image)
    return logits[:, 0] if flat else logits


def _patch(trainer: Any) -> torch.Tensor:
    size = trainer.configuration_manager.patch_size
    return torch.rand(1, *size, generator=torch.Generator().manual_seed(0))


# A trainer that writes its checkpoints in the given home, forever, as slowly as a big network would.
SAVE_FOREVER = """
import json, sys, time
import torch
from nnunet_ext import trainers

plans = json.loads(open(sys.argv[1]).read())
plans["continue_training"] = False
dataset = json.loads(open(sys.argv[2]).read())
trainer = getattr(trainers, sys.argv[3])(plans, "3d_fullres", 0, dataset, torch.device("cpu"))
trainer.initialize()
save, slow = torch.save, sys.argv[4] == "slow"

def slowly(checkpoint, filename):
    save(checkpoint, filename)
    with open(filename, "r+b") as file:
        size = file.seek(0, 2)
        file.truncate(size // 2)
    print("HALF", flush=True)
    time.sleep(60)

path = trainer.output_folder + "/checkpoint_latest.pth"
trainer.save_checkpoint(path)
print("SAVED", flush=True)
if slow:
    torch.save = slowly
while True:
    trainer.current_epoch += 1
    trainer.save_checkpoint(path)
"""


@pytest.mark.parametrize("moment", ["slow", "between"])
def test_kill_minus_9_leaves_a_readable_checkpoint(
    preprocessed: NnunetHome, tmp_path: Path, moment: str
) -> None:
    """Killed in the middle of a save, and at an arbitrary moment among many."""
    script = tmp_path / "save_forever.py"
    script.write_text(SAVE_FOREVER)
    folder = preprocessed.root / "preprocessed" / "Dataset901_plain"
    process = subprocess.Popen(
        [sys.executable, script, folder / "nnUNetPlans.json", folder / "dataset.json", NAME, moment],
        env=preprocessed.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    awaited = "HALF" if moment == "slow" else "SAVED"
    assert any(line.strip() == awaited for line in process.stdout)
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    path = next(Path(preprocessed.environment["nnUNet_results"]).rglob("checkpoint_latest.pth"))
    assert torch_load(path)["trainer_name"] == NAME
    if moment == "slow":
        assert path.with_name("checkpoint_latest.pth.partial").exists()
