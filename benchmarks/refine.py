"""What a refiner costs beside the first network: seconds and memory, at real size.

    python benchmarks/refine.py [--size-vox 275 512 512] [--classes 8] [--local-grid 1 2 4] [--threads 2]

No training: weights are random, times do not depend on them. Times one pass of nnU-Net's PlainConvUNet (32 to
320 features) over a patch, and from it one pass over every voxel, and stock prediction (tiles of that patch
at step 0.5, with and without mirroring along three axes). Then refines a whole volume of probabilities
blockwise, in a process of its own, for each grid of the local branch, and prints seconds, how many passes of
the first network that is, its share of stock prediction, and the peak of that process's own memory (pages of
mapped files, which the system takes back, are not counted).
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window
from torch import nn
from tqdm import tqdm
from typed_commands import print_machine

from nnunet_ext.inference.memory import keep_freed_memory
from nnunet_ext.networks.scn import RefineSCN
from nnunet_ext.refinement.blockwise import refined_probabilities
from nnunet_ext.refinement.layout import layout_for

FEATURES = (32, 64, 128, 256, 320, 320)
SPACING_MM = (0.6, 0.6, 0.6)
MIRRORED = 8


def first_network_seconds(patch: Sequence[int], classes: int, repeats: int) -> float:
    """Of one pass over one patch; the fastest of some."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    stages = next(n for n in range(2, 7) if n == 6 or min(patch) // 2**n < 4)
    network = PlainConvUNet(
        1,
        stages,
        FEATURES[:stages],
        nn.Conv3d,
        3,
        [1, *[2] * (stages - 1)],
        2,
        classes,
        2,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    ).eval()
    tile = torch.zeros(1, 1, *patch)
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats):
            start = time.perf_counter()
            network(tile)
            seconds.append(time.perf_counter() - start)
    return min(seconds)


def write_probabilities(file: Path, size: Sequence[int], classes: int) -> None:
    """A softmax of noise that changes over some voxels, plane by plane."""
    volume = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=(classes, *size))
    rng = torch.Generator().manual_seed(0)
    for plane in tqdm(range(size[0]), desc="Volume", leave=False):
        coarse = torch.randn(1, classes, -(-size[1] // 16), -(-size[2] // 16), generator=rng)
        smooth = nn.functional.interpolate(4 * coarse, tuple(size[1:]), mode="bilinear")
        volume[:, plane] = torch.softmax(smooth, 1)[0].numpy()


def refine(
    folder: str, classes: int, local_grid: int, size: Sequence[int], threads: int, block: int, answer: Any
) -> None:
    """The process: refine the volume, and send its seconds."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    layout = layout_for(spacing_mm=SPACING_MM, image_size=size, local_grid=local_grid)
    network = RefineSCN(
        classes, factor=layout.factor, kernel_size=layout.kernel_size, local_grid=layout.local_grid
    )
    probabilities = np.load(Path(folder) / "volume.npy", mmap_mode="r")
    start = time.perf_counter()
    file = Path(folder) / "refined.npy"
    refined_probabilities(network, probabilities, file=file, block=block, progress=True)
    answer.send((time.perf_counter() - start, layout.factor))


def measured(*arguments: Any) -> tuple[float, tuple[int, ...], float]:
    """Seconds, factor, and the peak of anonymous memory in MiB, sampled."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=refine, args=(*arguments, theirs))
    process.start()
    peak = 0
    while process.is_alive():
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except OSError:
            break
        peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))])
        process.join(0.02)
    process.join()
    seconds, factor = ours.recv()
    return seconds, factor, peak / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size-vox", type=int, nargs=3, default=(275, 512, 512))
    parser.add_argument("--patch-vox", type=int, nargs=3, default=(128, 128, 128), help="of the U-Net")
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--local-grid", type=int, nargs="+", default=(1, 2, 4))
    parser.add_argument("--block", type=int, default=80, help="edge of blocks (80, as in use)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="of the U-Net's pass (3)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    print_machine()
    patch = [min(n, p) for n, p in zip(args.size_vox, args.patch_vox, strict=True)]
    one = first_network_seconds(patch, args.classes, args.repeats)
    steps = compute_steps_for_sliding_window(tuple(args.size_vox), tuple(patch), 0.5)
    tiles = prod(len(axis) for axis in steps)
    a_pass = one * prod(args.size_vox) / prod(patch)
    print(f"volume {args.size_vox}, {args.classes} classes, {args.threads} threads")
    print(
        f"PlainConvUNet: {one:.2f} s for {patch}, {a_pass:.0f} s for a pass over every voxel, {tiles} tiles"
    )
    print(f"{'local grid':<12}{'factor':<14}{'seconds':>9}{'passes':>8}{'mirrored':>10}{'not':>8}{'MiB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        write_probabilities(Path(folder) / "volume.npy", args.size_vox, args.classes)
        for grid in args.local_grid:
            seconds, factor, peak = measured(
                folder, args.classes, grid, args.size_vox, args.threads, args.block
            )
            shares = [100 * seconds / (one * tiles * copies) for copies in (MIRRORED, 1)]
            cells = "x".join(map(str, factor))
            print(
                f"{grid:<12}{cells:<14}{seconds:>9.1f}{seconds / a_pass:>8.2f}{shares[0]:>8.1f} %"
                f"{shares[1]:>6.1f} %{peak:>8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
