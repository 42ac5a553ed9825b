"""Two processes give the gradients of one on the joined batch, with no parameter unused.

With gloo on the CPU, for network and loss; nnU-Net's own multi-GPU command needs two GPUs.
"""

from __future__ import annotations

from pathlib import Path

import torch
from arch_kwargs import SHAPES
from network_contract import build
from two_processes import gradients_of_one_process, gradients_of_two_processes

from nnunet_ext import networks

PAIRS = (
    ("RASUNet", SHAPES[1]),
    ("RASUNet", SHAPES[2]),
    ("MAUNet", SHAPES[2]),
    ("AFUNet", SHAPES[1]),
)


def test_gradients_of_two_processes_are_those_of_the_joined_batch(tmp_path: Path) -> None:
    for (name, shape), parallel in zip(PAIRS, gradients_of_two_processes(PAIRS, str(tmp_path)), strict=True):
        single = gradients_of_one_process(name, shape)
        network = build(getattr(networks, name), shape, deep_supervision=True)
        assert parallel.keys() == single.keys() == dict(network.named_parameters()).keys()
        for key, value in single.items():
            told = f"{name}, {shape.name}: {key}"
            torch.testing.assert_close(parallel[key], value, rtol=1e-3, atol=1e-5, msg=told)
