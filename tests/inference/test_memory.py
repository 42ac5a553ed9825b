"""Memory of a prediction: tensors of the size classes x volume are never made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import CUBIC, Tiny, write_case
from torch.utils._python_dispatch import TorchDispatchMode

from nnunet_ext.inference.cases import Preparation, find_cases, prepare_case
from nnunet_ext.inference.memory import PeakMemory, keep_freed_memory, peak_memory_mib
from nnunet_ext.inference.model import load_model
from nnunet_ext.inference.predictor import SlidingWindowPredictor


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for one in result if isinstance(result, list | tuple) else [result]:
            if isinstance(one, torch.Tensor):
                self.elements = max(self.elements, one.numel())
        return result


@pytest.mark.parametrize(("planes", "probabilities"), [(16, False), (48, False), (48, True)])
def test_the_largest_tensor_does_not_grow_with_the_volume(
    planes: int, probabilities: bool, model_folder: Callable[[Tiny], Path], tmp_path: Path
) -> None:
    plane = 32 * 32
    model = load_model(model_folder(Tiny()))
    write_case(tmp_path, "a", shape=(planes, 32, 32))
    (files,) = find_cases(tmp_path, file_ending=".nii.gz")
    case = prepare_case(files, Preparation.of(model))
    with LargestTensor() as largest:
        SlidingWindowPredictor(model).predict(
            case, probabilities=(lambda axis, number, values: None) if probabilities else None
        )
    # Twice eight channels of the network on a patch, or three heads of a slab as deep as a patch. Three heads
    # of the volume are 48 or 144 planes.
    assert largest.elements == max(16 * 8 * 16 * 16, 3 * 8 * plane) == 32 * plane


def test_the_whole_volume_is_taken_only_where_nnunet_has_to(
    model_folder: Callable[[Tiny], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_model(model_folder(Tiny(probabilities=CUBIC)))
    write_case(tmp_path, "a", shape=(40, 30, 30), spacing_mm=(1.0, 1.0, 1.0))
    (files,) = find_cases(tmp_path, file_ending=".nii.gz")
    case = prepare_case(files, Preparation.of(model))
    with LargestTensor() as largest, caplog.at_level("INFO"):
        SlidingWindowPredictor(model).predict(case)
    assert largest.elements >= 3 * case.data[0].numel()
    assert "needs memory for classes x volume" in caplog.text


def test_peak_memory_counts_what_was_held() -> None:
    before = peak_memory_mib()
    if before is None:
        pytest.skip("no /proc")
    block = bytearray(300 << 20)
    block[::4096] = b"1" * len(block[::4096])
    del block
    after = peak_memory_mib()
    assert after is not None
    assert after > 300


def test_the_peak_of_a_block_is_its_own() -> None:
    """In a process of its own, so that nothing else allocates."""
    code = """
import time
import numpy as np
from nnunet_ext.inference.memory import PeakMemory

peaks = []
for mib in (0, 200, 0, 100):
    with PeakMemory() as peak:
        block = np.ones(mib << 17)
        time.sleep(0.5)
        del block
    peaks.append(peak.mib)
print([round(peak - peaks[0]) for peak in peaks] if None not in peaks else None)
"""
    # Settings that keep freed memory, as tests have them, let a block hold the last one's.
    own = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=own)
    if done.stdout.strip() == "None":
        pytest.skip("no /proc")
    found = json.loads(done.stdout)
    assert found == pytest.approx([0, 200, 0, 100], abs=15)


def test_a_block_that_raises_ends_its_samples() -> None:
    before = threading.active_count()
    with pytest.raises(KeyError), PeakMemory():
        raise KeyError
    assert threading.active_count() == before


def test_freed_memory_can_be_kept_on_glibc() -> None:
    code = "from nnunet_ext.inference.memory import keep_freed_memory as keep; print(keep())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    import platform

    assert done.stdout.strip() == str(platform.libc_ver()[0] == "glibc")
    assert callable(keep_freed_memory)
