"""Weights and states of training on disk: whole or not at all, and nothing in them is executed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from nnunet_ext.files import whole_file


def save_weights(network: nn.Module, file: Path) -> None:
    """Write a network's weights as safetensors.

    Raises:
        OSError: the file could not be written.

    Example:
        >>> import tempfile
        >>> from safetensors.torch import load_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_weights(nn.Linear(2, 1), Path(folder) / "a.safetensors")
        ...     sorted(load_file(Path(folder) / "a.safetensors"))
        ['bias', 'weight']
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with whole_file(file) as temporary:
        save_file(weights, str(temporary))


def save_state(state: Mapping[str, Any], file: Path) -> None:
    """Write where a training stands, flushed to disk; a kill leaves this state or the one before.

    Args:
        state: tensors and plain values, so that ``torch.load(..., weights_only=True)`` reads them.
        file: to write.

    Raises:
        OSError: the file could not be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_state({"step": 3}, Path(folder) / "a.pt")
        ...     torch.load(Path(folder) / "a.pt", weights_only=True)
        {'step': 3}
    """
    with whole_file(file) as temporary:
        torch.save(dict(state), temporary)
        # Windows flushes only what is open for writing.
        with temporary.open("r+b") as written:
            os.fsync(written.fileno())
