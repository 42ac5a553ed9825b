"""Time and memory of our metrics against MONAI's straight calls, each in its own process.

    python benchmarks/metrics.py [--rounds 2] [--monai-structures 3] [--size-vox 275 512 512]

Makes a case of CT size with a body, organs and small structures, and a prediction whose surfaces are off by
some voxels. Our arm computes everything that ``nnunet_ext evaluate`` reports (skeletons left out). MONAI's
arm is what its documentation shows: one-hot volumes of all classes, then DiceMetric,
compute_hausdorff_distance (100 and 95 %), compute_average_surface_distance and compute_surface_dice. One-hot
volumes of 16 classes need more than 10 GB, so both arms run on ``--monai-structures`` of the structures, from
the largest to the smallest, and our arm on all of them besides.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPACING_MM = (1.0, 0.8, 0.8)
TOLERANCE_MM = 2.0
# Half axes in fractions of the image, largest first: a body, organs, down to lenses and nerves.
SIZES = (0.42, 0.2, 0.16, 0.13, 0.11, 0.09, 0.08, 0.07, 0.06, 0.05, 0.04, 0.03, 0.02, 0.014, 0.01)
Volume = NDArray[np.uint8]


def make_case(size: tuple[int, int, int], structures: int) -> tuple[Volume, Volume]:
    """Reference and prediction: ellipsoids with a bumpy surface, the prediction's moved and bumped anew."""
    rng = np.random.default_rng(0)
    maps = (np.zeros(size, np.uint8), np.zeros(size, np.uint8))
    for label, fraction in enumerate(SIZES[:structures], start=1):
        place = rng.uniform(-1, 1, 3) * (0 if label == 1 else 0.2) + 0.5
        axes = np.maximum(2, fraction * np.asarray(size) * rng.uniform(0.8, 1.1, 3))
        for volume in maps:
            center = place * size + rng.uniform(-2, 2, 3)
            paint(volume, label, center=center, half_axes=axes, phases=rng.uniform(0, 6, 3))
    return maps


def paint(
    volume: Volume,
    label: int,
    *,
    center: NDArray[np.float64],
    half_axes: NDArray[np.float64],
    phases: NDArray[np.float64],
) -> None:
    """One ellipsoid whose radius goes up and down by 4 %."""
    low = np.maximum(0, np.floor(center - 1.1 * half_axes)).astype(int)
    high = np.minimum(volume.shape, np.ceil(center + 1.1 * half_axes) + 1).astype(int)
    grid = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    offsets = [((g - c) / r).astype(np.float32) for g, c, r in zip(grid, center, half_axes, strict=True)]
    bumps = sum(np.sin(8 * o + p).astype(np.float32) for o, p in zip(offsets, phases, strict=True))
    inside = sum(o**2 for o in offsets) < (1 + 0.04 * bumps / 3) ** 2
    volume[tuple(slice(a, b) for a, b in zip(low, high, strict=True))][inside] = label


def run_ours(prediction: Volume, reference: Volume, labels: list[int]) -> tuple[float, Any]:
    """Seconds and results of our arm."""
    from nnunet_ext.evaluation import LabelTable, Structure, score_case

    table = LabelTable(tuple(Structure(str(n), str(n), (n,)) for n in labels), tuple(labels))
    start = time.perf_counter()
    scores = score_case(prediction, reference, spacing_mm=SPACING_MM, table=table)
    seconds = time.perf_counter() - start
    wanted = ("Dice", "hd_mm", "hd95_mm", "assd_mm", "nsd")
    return seconds, [[s.numbers()[name] for name in wanted] for s in scores.structures.values()]


def run_monai(prediction: Volume, reference: Volume, labels: list[int]) -> tuple[float, Any]:
    """Seconds and results of MONAI's arm."""
    import torch
    from monai.metrics import (
        DiceMetric,
        compute_average_surface_distance,
        compute_hausdorff_distance,
        compute_surface_dice,
    )
    from monai.networks import one_hot

    start = time.perf_counter()
    volumes = [
        one_hot(torch.from_numpy(v)[None, None], num_classes=len(labels) + 1, dtype=torch.uint8)
        for v in (prediction, reference)
    ]
    place = {"spacing": SPACING_MM, "include_background": False}
    columns = [
        DiceMetric(include_background=False, reduction="none")(*volumes),
        compute_hausdorff_distance(*volumes, **place),
        compute_hausdorff_distance(*volumes, percentile=95, **place),
        compute_average_surface_distance(*volumes, symmetric=True, **place),
        compute_surface_dice(*volumes, class_thresholds=[TOLERANCE_MM] * len(labels), **place),
    ]
    return time.perf_counter() - start, torch.stack([c[0] for c in columns], 1).tolist()


def measure(arm: str, folder: Path, labels: list[int]) -> None:
    """One measurement, in this process: seconds without imports and reading, peak of memory, results."""
    maps = [np.load(folder / name) for name in ("prediction.npy", "reference.npy")]
    lut = np.zeros(256, np.uint8)
    lut[labels] = np.arange(1, len(labels) + 1)
    prediction, reference = (lut[m] for m in maps)
    del maps
    start = time.perf_counter()
    if arm == "monai":
        import monai.metrics  # noqa: F401
    else:
        import nnunet_ext.evaluation  # noqa: F401
    imports = time.perf_counter() - start
    run = run_monai if arm == "monai" else run_ours
    cpu_start = time.process_time()
    seconds, results = run(prediction, reference, list(range(1, len(labels) + 1)))
    cpu = time.process_time() - cpu_start
    # Not getrusage: a child process begins with the peak of its parent.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak_kib = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    times = {"s": seconds, "cpu_s": cpu, "import_s": imports}
    print(json.dumps({**times, "mib": peak_kib / 1024, "results": results}))


def in_a_fresh_process(arm: str, folder: Path, labels: list[int]) -> dict[str, Any]:
    """The same, in its own process."""
    command = [sys.executable, __file__, "--run", arm, str(folder), *map(str, labels)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"  {arm:5} {len(labels):2} structures: {result['s']:6.1f} s", file=sys.stderr, flush=True)
    return result


def report(name: str, runs: list[dict[str, Any]]) -> None:
    """One line of the table."""
    seconds, cpu, imports = (statistics.median(r[key] for r in runs) for key in ("s", "cpu_s", "import_s"))
    print(
        f"{name:22} {seconds:6.1f} s ({min(r['s'] for r in runs):.1f} to {max(r['s'] for r in runs):.1f}), "
        f"of the processor {cpu:6.1f} s; imports {imports:4.1f} s; "
        f"peak {max(r['mib'] for r in runs):5.0f} MiB"
    )


def main() -> None:
    """Make the case, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--structures", type=int, default=15, choices=range(1, 16), metavar="1..15")
    parser.add_argument("--monai-structures", type=int, default=3)
    parser.add_argument("--size-vox", type=int, nargs=3, default=(275, 512, 512), metavar=("Z", "Y", "X"))
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        measure(args.run[0], Path(args.run[1]), [int(n) for n in args.run[2:]])
        return
    size, everything = tuple(args.size_vox), list(range(1, args.structures + 1))
    some = np.unique(np.linspace(1, args.structures, args.monai_structures).round().astype(int)).tolist()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, volume in zip(("reference", "prediction"), make_case(size, args.structures), strict=True):
            np.save(folder / f"{file}.npy", volume)
            voxels = np.bincount(volume.ravel())[1:]
        arms = (("ours", everything), ("ours", some), ("monai", some))
        rounds = [
            [in_a_fresh_process(arm, folder, labels) for arm, labels in arms] for _ in range(args.rounds)
        ]
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("numpy", "scipy", "torch", "monai"))
    print(f"{' x '.join(map(str, size))} voxels; {platform.platform()}, {versions}")
    print(f"voxels of the predicted structures: {voxels.tolist()}")
    columns = list(zip(*rounds, strict=True))
    report(f"ours, {len(everything)} structures", list(columns[0]))
    report(f"ours, {len(some)} structures", list(columns[1]))
    report(f"MONAI, {len(some)} structures", list(columns[2]))
    print(f"structures of both arms: {some}")
    for what, key in (("seconds", "s"), ("seconds of the processor", "cpu_s")):
        ratios = [m[key] / o[key] for o, m in zip(columns[1], columns[2], strict=True)]
        middle = statistics.median(ratios)
        print(f"MONAI / ours, {what}: {middle:.1f} ({min(ratios):.1f} to {max(ratios):.1f})")
    apart = np.abs(np.subtract(columns[1][0]["results"], columns[2][0]["results"])).max()
    print(f"largest difference of any result (Dice, HD, HD95, ASSD in mm, NSD): {apart:.1e}")


if __name__ == "__main__":
    main()
