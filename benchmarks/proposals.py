"""Time, memory and number of patches of the proposals on a coronary tree at the size of a CT.

    python benchmarks/proposals.py [--rounds 3] [--size-vox 275 512 512] [--window 32]

The mask is the phantom's coronary trees, as a perfect coarse network would find them. Each way runs in its
own process, so that peak memory is its own; what holding the mask alone takes is printed beside it. A full
scan in windows of the same size, half a window apart, is what a sliding window would look at.
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

WAYS: dict[str, dict[str, Any]] = {
    "mask alone": {},
    "skeleton, lexicographic": {"order": "lexicographic"},
    "skeleton, greedy": {"order": "greedy"},
    "skeleton, as the paper writes it": {"margin": (0, 0, 0), "complete": False},
}


def measure(file: Path, way: str, window: int) -> dict[str, float]:
    """One way, in this process."""
    from nnunet_ext.cascade.skeleton import skeleton_windows
    from nnunet_ext.cascade.windows import recall_ceiling

    mask = np.load(file)
    found: dict[str, float] = {"seconds": 0.0, "patches": 0, "recall": 0.0}
    if way != "mask alone":
        begin = time.perf_counter()
        windows = skeleton_windows(mask, size=(window,) * 3, **WAYS[way])
        found["seconds"] = time.perf_counter() - begin
        found |= {"patches": len(windows), "recall": recall_ceiling(mask, windows)}
    found["gib"] = _peak_gib()
    return found


def _peak_gib() -> float:
    """Of this process. Linux's getrusage also tells what its parent held when it started it."""
    import resource

    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30  # bytes on macOS


def full_scan(shape: tuple[int, ...], window: int) -> int:
    """Windows of a sliding window at step 0.5."""
    half = window // 2
    return int(np.prod([max(1, -(-(n - window) // half) + 1) for n in shape]))


def main() -> None:
    """Measure every way in turn, some rounds long, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size-vox", type=int, nargs=3, default=(275, 512, 512))
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--measure", nargs=2, metavar=("FILE", "WAY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(Path(args.measure[0]), args.measure[1], args.window)))
        return
    from nnunet_ext.phantoms.coronary import make_coronary

    shape = tuple(args.size_vox)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mask.npy"
        mask = make_coronary(seed=0, size_vox=shape).label == 1
        np.save(file, mask)
        results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(args.rounds):
            for way in WAYS:
                command = [
                    sys.executable,
                    __file__,
                    "--window",
                    str(args.window),
                    "--measure",
                    str(file),
                    way,
                ]
                results[way].append(json.loads(subprocess.check_output(command, text=True)))
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}", end="")
    print(*(f", {name} {importlib.metadata.version(name)}" for name in ("numpy", "scikit-image")), sep="")
    scan = full_scan(shape, args.window)
    print(f"{shape}, {int(mask.sum())} voxels, windows of {args.window}; full scan {scan}")
    for way, rounds in results.items():
        seconds = [r["seconds"] for r in rounds]
        print(
            f"{way:<34} {statistics.median(seconds):6.2f} s ({min(seconds):.2f} to {max(seconds):.2f})  "
            f"{max(r['gib'] for r in rounds):.2f} GiB  {rounds[0]['patches']:5.0f} patches  recall "
            f"{rounds[0]['recall']:.5f}"
        )


if __name__ == "__main__":
    main()
