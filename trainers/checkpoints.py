"""Checkpoints that survive a kill: often enough, and never half-written."""

from __future__ import annotations

import os
from pathlib import Path

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

PARTIAL_SUFFIX = ".partial"


class SafeCheckpoints(nnUNetTrainer):
    """Saves at least every tenth of the run and at least every 50 epochs, each file by rename.

    nnU-Net saves every 50 epochs whatever the length, in place. A run killed before its first save starts
    over with ``--c``, and one killed while saving leaves a file that cannot be read.
    """

    save_every: int

    def on_train_start(self) -> None:
        """As nnU-Net's; sets how often to save and removes what a killed run left half-written."""
        super().on_train_start()
        self.save_every = min(self.save_every, max(1, self.num_epochs // 10))
        if self.local_rank == 0:
            for partial in Path(self.output_folder).glob(f"*{PARTIAL_SUFFIX}"):
                partial.unlink()

    def save_checkpoint(self, filename: str) -> None:
        """nnU-Net's checkpoint, written beside ``filename``, flushed to disk and renamed."""
        partial = filename + PARTIAL_SUFFIX
        super().save_checkpoint(partial)
        # No file appears on other ranks or with --disable_checkpointing.
        if self.local_rank == 0 and not self.disable_checkpointing:
            # Windows flushes only what is open for writing.
            with open(partial, "r+b") as file:
                os.fsync(file.fileno())
            os.replace(partial, filename)
