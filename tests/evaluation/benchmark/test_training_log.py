"""Epochs and times from nnU-Net's logs."""

from __future__ import annotations

from pathlib import Path

from nnunet_ext.evaluation.benchmark.training_log import read_training_logs

EPOCH = ("train_loss -0.5", "val_loss -0.4", "Pseudo dice [np.float32(0.5), np.float32(0.7)]")


def write_log(fold: Path, name: str, *texts: str) -> None:
    lines = [f"2026-01-01 10:00:{second:02d}.000001: {text}" for second, text in enumerate(texts)]
    (fold / f"training_log_{name}.txt").write_text("\n".join(lines))


def test_a_log_that_begins_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    """Its folder was removed while a training wrote, which then began the file anew; seen in a benchmark."""
    write_log(tmp_path, "1", EPOCH[2], "Epoch time: 54.8 s", "Epoch 4", "Current learning rate: 0.00818")
    write_log(tmp_path, "2", "Epoch 0", *EPOCH, "Epoch time: 10.0 s", "Epoch 1", *EPOCH, "Epoch time: 12.0 s")
    log = read_training_logs(tmp_path)
    assert [(epoch.number, epoch.seconds) for epoch in log.epochs] == [(0, 10.0), (1, 12.0)]
    assert log.epochs[0].pseudo_dice == (0.5 + 0.7) / 2
    assert log.attempts == 2


def test_an_epoch_that_was_done_again_counts_as_it_was_done_last(tmp_path: Path) -> None:
    write_log(tmp_path, "1", "Epoch 0", *EPOCH, "Epoch time: 10.0 s", "Epoch 1", *EPOCH, "Epoch time: 11.0 s")
    write_log(tmp_path, "2", "Epoch 1", *EPOCH, "Epoch time: 20.0 s")
    assert [epoch.seconds for epoch in read_training_logs(tmp_path).epochs] == [10.0, 20.0]
