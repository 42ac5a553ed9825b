"""Stock prediction with sums in float32, so that nothing but rounding is left between it and ours."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from nnunetv2.inference import predict_from_raw_data


class _Torch(ModuleType):
    """torch, in which half precision is float32.

    For nnU-Net's module alone: torch itself keeps a table of its types from the first time that it saves, and
    would go on to write float32 as half.
    """

    half = torch.float32

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def sum_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make nnU-Net's predictor add tiles up in float32 instead of float16."""
    monkeypatch.setattr(predict_from_raw_data, "torch", _Torch("torch"))
