"""Time and memory of a translation's training step by patch size, against three passes as in CycleGAN's code.

    python benchmarks/translate_step.py --patch-sizes 32 48 64 --rounds 3

The reference step calls a generator for each image apart and has a backward pass for each discriminator, as
the authors' program does; ours joins what goes through one network. Both compute the same losses. Each line
comes from steps in turn, in one process; memory is the most that a process of its own ever held.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from nnunet_ext.translation.losses import adversarial_loss, distance
from nnunet_ext.translation.objectives import frozen
from nnunet_ext.translation.settings import Settings, default_layers
from nnunet_ext.translation.step import Players


def separate_step(players: Players, mr: Tensor, ct: Tensor) -> None:
    """One update as CycleGAN's program does it: each image through each network by itself."""
    nets, judges = players.raw_generators, players.raw_discriminators
    weights = nets.weights
    with frozen(judges):
        fake_ct, fake_mr = nets.to_ct(mr), nets.to_mr(ct)
        loss = adversarial_loss(judges.of_ct(fake_ct), real=True)
        loss = loss + adversarial_loss(judges.of_mr(fake_mr), real=True)
        loss = loss + weights["cycle"] * (
            distance(nets.to_mr(fake_ct), mr) + distance(nets.to_ct(fake_mr), ct)
        )
        loss = loss + weights["identity"] * (distance(nets.to_ct(ct), ct) + distance(nets.to_mr(mr), mr))
        loss.backward()
        players._generator_adam.step()
        players._generator_adam.zero_grad()
    for judge, real, fake in ((judges.of_mr, mr, fake_mr), (judges.of_ct, ct, fake_ct)):
        of_real = adversarial_loss(judge(real), real=True)
        of_fake = adversarial_loss(judge(fake.detach()), real=False)
        (0.5 * (of_real + of_fake)).backward()
    players._discriminator_adam.step()
    players._discriminator_adam.zero_grad()


def players_for(size: int, device: str) -> tuple[Players, Tensor, Tensor]:
    """Networks of the defaults, and a pair of patches."""
    settings = Settings(steps=1000, discriminator_layers=default_layers((size, size, size)))
    fabric = Fabric(accelerator=device, devices=1)
    fabric.launch()
    mr, ct = (torch.rand(1, 1, size, size, size, device=fabric.device) * 2 - 1 for _ in range(2))
    return Players(fabric, settings), mr, ct


def seconds(function: Callable[[], Any], device: str) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(size: int, *, rounds: int, device: str) -> dict[str, Any]:
    """Both steps in turn, and the memory of ours in a process of its own."""
    players, mr, ct = players_for(size, device)
    numbers = itertools.count()
    steps = {
        "ours": lambda: players.step(mr, ct, number=next(numbers)),
        "separate": lambda: separate_step(players, mr, ct),
    }
    for step in steps.values():
        step()
    found = [{name: seconds(step, device) for name, step in steps.items()} for _ in range(rounds)]
    ratios = [f["ours"] / f["separate"] for f in found]
    row = {
        "patch": size,
        "seconds": round(statistics.median(f["ours"] for f in found), 2),
        "ratio": round(statistics.median(ratios), 2),
        "lowest": round(min(ratios), 2),
        "highest": round(max(ratios), 2),
    }
    return {**row, **{f"{name}_gib": memory_of(size, name, device) for name in steps}}


def memory_of(size: int, name: str, device: str) -> float:
    """Peak in GiB of a process that does two steps and nothing else."""
    command = [sys.executable, __file__, "--memory-of", name, "--patch-sizes", str(size), "--device", device]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def print_memory(size: int, name: str, device: str) -> None:
    """Do two steps; print the peak."""
    players, mr, ct = players_for(size, device)
    for number in range(2):
        if name == "ours":
            players.step(mr, ct, number=number)
        else:
            separate_step(players, mr, ct)
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**30
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{peak:.2f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patch-sizes", type=int, nargs="+", default=[32, 48, 64], metavar="N")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--memory-of", choices=("ours", "separate"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        print_memory(args.patch_sizes[0], args.memory_of, args.device)
        return
    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__, "cpu": platform.processor()}
    print(json.dumps(machine))
    print("| patch | step (s) | ours / separate | peak, ours (GiB) | peak, separate (GiB) |")
    print("|---|---|---|---|---|")
    for size in args.patch_sizes:
        row = measure(size, rounds=args.rounds, device=args.device)
        print(
            f"| {size}^3 | {row['seconds']} | {row['ratio']} ({row['lowest']} to {row['highest']}) | "
            f"{row['ours_gib']} | {row['separate_gib']} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
