"""The predicted peak of a training step against what a GPU's allocator saw, for every network.

    python benchmarks/step_memory.py             # mixed precision in float16, as nnU-Net trains
    python benchmarks/step_memory.py --compile   # the same, compiled

Of the two plans of ``step_time.py``, with nnU-Net's loss and deep supervision. The prediction is traced
without the GPU (``nnunet_ext.planning.peak``) and is what ``nnunet_ext plan --gpu-memory-gb`` plans by.
*Allocated* is ``torch.cuda.max_memory_allocated`` in the last of a few steps, *reserved* what the allocator
held for it.
"""

from __future__ import annotations

import argparse
import gc

import torch
from step_time import OURS, SHAPES, Arm, Shape, build_arm, train_once

from nnunet_ext.planning.peak import trace_peak_bytes

MIB = 2**20
STEPS = 4  # the first ones choose cuDNN's algorithms and compile


def measure(arm: Arm) -> tuple[int, int]:
    """Bytes allocated and reserved at most in a step."""
    shape = (arm.step.batch_size, arm.step.input_channels, *arm.step.patch_size)
    image = torch.randn(shape, device="cuda")
    optimizer = torch.optim.SGD(arm.network.parameters(), 1e-3, momentum=0.99, nesterov=True)
    for step in range(STEPS):
        if step == STEPS - 1:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        train_once(arm, image, optimizer)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()


def line(name: str, shape: Shape, args: argparse.Namespace, *, resenc: bool) -> str:
    """One row of the table."""
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    arm = build_arm(name, shape, args, resenc=resenc)
    predicted = trace_peak_bytes(arm.step)
    allocated, reserved = (n - before for n in measure(arm))
    plan = f"{shape.name}{', ResEnc' if resenc else ''}"
    return (
        f"| {plan} | {name} | {predicted / MIB:.0f} | {allocated / MIB:.0f} | {reserved / MIB:.0f} | "
        f"{predicted / allocated:.2f} |"
    )


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--precision", choices=("float32", "bfloat16", "float16"), default="float16")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--batch-size", type=int, help="instead of the plan's")
    parser.add_argument("--networks", nargs="+", choices=OURS, default=list(OURS))
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("there is no GPU to measure")
    args.device = "cuda"
    torch.backends.cudnn.benchmark = True  # as nnU-Net has it
    print(
        f"torch {torch.__version__}, {torch.cuda.get_device_name()}, {args.precision}"
        f"{', compiled' if args.compile else ''}\n"
    )
    print("| plan | network | predicted, MiB | allocated | reserved | predicted / allocated |")
    print("|---|---|---|---|---|---|")
    for shape in SHAPES:
        for name in ("PlainConvUNet", *args.networks):
            print(line(name, shape, args, resenc=False), flush=True)
        print(line("ResidualEncoderUNet", shape, args, resenc=True), flush=True)


if __name__ == "__main__":
    main()
