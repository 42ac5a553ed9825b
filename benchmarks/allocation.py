"""A training step on the CPU with and without our settings of glibc's allocation, in turns.

    python benchmarks/allocation.py [--rounds 3] [--steps 4] [--network PlainConvUNet]

Each process trains a network on the hippocampus plan (``benchmarks/step_time.py``) for some steps, of which
the first is not counted, with ``OMP_WAIT_POLICY=PASSIVE`` and either glibc's defaults or the settings that
``nnunet_ext/commands.py`` gives to trainings on a CPU. Prints seconds a step, the share of CPU time that the
system took, and peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from pathlib import Path

ARMS = ("glibc's defaults", "our settings")


def measure(network: str, steps: int) -> dict[str, float]:
    """Some steps in this process."""
    sys.path.insert(0, str(Path(__file__).parent))
    import step_time
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    options = argparse.Namespace(batch_size=0, device="cpu", precision="float32", compile=False)
    shape = step_time.SHAPES[0]
    arm = step_time.build_arm(network, shape, options, resenc=False)
    optimizer = torch.optim.SGD(arm.network.parameters(), 0.01, momentum=0.99, nesterov=True)
    image = torch.randn(arm.step.batch_size, 1, *shape.patch_size)
    step_time.train_once(arm, image, optimizer)
    before = resource.getrusage(resource.RUSAGE_SELF)
    times = [
        step_time.seconds(lambda: step_time.train_once(arm, image, optimizer), cuda=False)
        for _ in range(steps)
    ]
    after = resource.getrusage(resource.RUSAGE_SELF)
    system = after.ru_stime - before.ru_stime
    return {
        "seconds": statistics.median(times),
        "system": system / (system + after.ru_utime - before.ru_utime),
        "gib": after.ru_maxrss / 2**20,
    }


def main() -> None:
    """Run both arms in turn and print them side by side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--network", default="PlainConvUNet")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.network, args.steps)))
        return
    import torch

    from nnunet_ext.commands import CPU_SETTINGS

    plain = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    plain["OMP_WAIT_POLICY"] = "PASSIVE"
    results: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    command = [sys.executable, __file__, "--measure", "--network", args.network, "--steps", str(args.steps)]
    for _ in range(args.rounds):
        for arm, environment in zip(ARMS, (plain, {**plain, **CPU_SETTINGS}), strict=True):
            results[arm].append(json.loads(subprocess.check_output(command, env=environment, text=True)))
    print(
        f"{args.network}, {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, ", end=""
    )
    print(" ".join(platform.libc_ver()))
    for arm, rounds in results.items():
        seconds = [r["seconds"] for r in rounds]
        ratios = [own / base["seconds"] for own, base in zip(seconds, results[ARMS[0]], strict=True)]
        times = f"{statistics.median(seconds):6.2f} s a step ({min(seconds):.2f} to {max(seconds):.2f})"
        ratio = f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        system = f"system {100 * statistics.median(r['system'] for r in rounds):.0f} %"
        print(f"{arm:<17} {times}, {ratio}, {system}, {max(r['gib'] for r in rounds):.2f} GiB")


if __name__ == "__main__":
    main()
