"""Cost of every network against nnU-Net's own, with the same plan, in one interleaved run.

    python benchmarks/step_time.py                       # CPU, float32
    python benchmarks/step_time.py --precision bfloat16  # CPU, bfloat16 forward pass as our trainers have it
    python benchmarks/step_time.py --device cuda --precision float16 [--compile]

Two plans: that of the Decathlon's hippocampus (isotropic) and an anisotropic one. Networks are compared
with PlainConvUNet; MAUNet and ResUNet also with ResidualEncoderUNet on a ResEnc plan of the same shape.
Prints, each as a ratio to nnU-Net's network, parameters, operations of the forward pass (counted: the floor
of the time where nothing but arithmetic costs), what is kept for the backward pass (traced), the training
step (forward, nnU-Net's loss with deep supervision, backward, SGD) and the
inference pass; of the last two the median of the rounds, with the smallest and the largest ratio.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from nnunet_ext.trainers.precision import bfloat16_forward
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from nnunet_ext.planning import TrainingStep, trace_step_memory
from nnunet_ext.planning.memory import build_network, empty_target, sum_of_losses

DNA = "dynamic_network_architectures.architectures.unet"
OURS = ("AGUNet", "MAUNet", "AFUNet", "ResUNet", "RASUNet", "SEUNet", "VNet")
RESIDUAL = ("MAUNet", "ResUNet")
DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Shape:
    """A plan's patch and topology."""

    name: str
    patch_size: tuple[int, ...]
    batch_size: int
    features: tuple[int, ...]
    kernel_sizes: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]

    def arch_kwargs(self, *, resenc: bool) -> dict[str, Any]:
        """What nnU-Net's planner writes for this shape."""
        stages = len(self.features)
        blocks = (1, 3, 4, 6, 6, 6)[:stages]
        depth = {"n_blocks_per_stage": blocks} if resenc else {"n_conv_per_stage": (2,) * stages}
        return {
            "n_stages": stages,
            "features_per_stage": self.features,
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": self.kernel_sizes,
            "strides": self.strides,
            **depth,
            "n_conv_per_stage_decoder": (1 if resenc else 2,) * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        }


SHAPES = (
    Shape(
        "hippocampus",
        (40, 56, 40),
        7,
        (32, 64, 128, 256),
        ((3, 3, 3),) * 4,
        ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
    ),
    Shape(
        "anisotropic",
        (16, 160, 128),
        2,
        (32, 64, 128, 256, 320),
        ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
        ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)),
    ),
)


@dataclass
class Arm:
    """One network and what was measured of it."""

    name: str
    step: TrainingStep
    network: nn.Module
    train_seconds: list[float]
    infer_seconds: list[float]


def seconds(run: Callable[[], Any], *, cuda: bool) -> float:
    """Wall time of one call; on a GPU until its work is done."""
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def precision(arm: Arm) -> Any:
    """Mixed precision around the forward pass: autocast on a GPU, ours on a CPU."""
    if arm.step.autocast is None:
        return nullcontext()
    if arm.step.device == "cuda":
        return torch.autocast("cuda", dtype=arm.step.autocast)
    return bfloat16_forward(arm.network)


def train_once(arm: Arm, image: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One training step."""
    optimizer.zero_grad(set_to_none=True)
    with precision(arm):
        outputs = arm.network.train()(image)
        targets = [empty_target(arm.step, output) for output in outputs]
        loss = sum_of_losses(arm.step, outputs, targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(arm.network.parameters(), 12)
    optimizer.step()


def infer_once(arm: Arm, image: torch.Tensor) -> None:
    """One pass as in prediction, where a CPU always computes in float32."""
    gpu = arm.step.device == "cuda"
    with torch.no_grad(), precision(arm) if gpu else nullcontext():
        arm.network.eval()(image)


def operations(step: TrainingStep) -> int:
    """Floating-point operations of one forward pass, counted on fake tensors."""
    with FakeTensorMode(), FlopCounterMode(display=False) as counter:
        build_network(step).eval()(torch.empty(step.batch_size, step.input_channels, *step.patch_size))
    return int(counter.get_total_flops())


def build_arm(name: str, shape: Shape, args: argparse.Namespace, *, resenc: bool) -> Arm:
    """The network with random weights on the device, laid out as the trainers lay it out."""
    step = TrainingStep(
        network=f"{DNA}.{name}" if name not in OURS else f"nnunet_ext.networks.{name}",
        arch_kwargs=shape.arch_kwargs(resenc=resenc),
        input_channels=1,
        outputs=3,
        patch_size=shape.patch_size,
        batch_size=args.batch_size or shape.batch_size,
        device=args.device,
        autocast=DTYPES[args.precision],
    )
    if not args.rounds:  # counted and traced alone
        return Arm(name, step, nn.Identity(), [], [])
    network = build_network(step).to(args.device)
    if args.device == "cpu" and step.autocast is not None:
        network = network.to(memory_format=torch.channels_last_3d)
    if args.compile:
        network.compile()
    return Arm(name, step, network, [], [])


def compare(shape: Shape, names: list[str], args: argparse.Namespace, *, resenc: bool) -> list[str]:
    """Lines of the table; the first name is what the others are compared with."""
    arms = [build_arm(name, shape, args, resenc=resenc) for name in names]
    if args.rounds:
        take_turns(arms, torch.randn(arms[0].step.batch_size, 1, *shape.patch_size, device=args.device), args)
    base = arms[0]
    kept = {arm.name: trace_step_memory(arm.step) for arm in arms}
    work = {arm.name: operations(arm.step) for arm in arms}
    plan = f"{shape.name}{', ResEnc' if resenc else ''}"
    lines = []
    for arm in arms:
        parameters = kept[arm.name].gradients / kept[base.name].gradients
        saved = kept[arm.name].saved / kept[base.name].saved
        train = _ratio(arm.train_seconds, base.train_seconds)
        infer = _ratio(arm.infer_seconds, base.infer_seconds)
        step = f"{statistics.median(arm.train_seconds):.3f}" if arm.train_seconds else "-"
        lines.append(
            f"| {plan} | {arm.name} | {parameters:.2f} | {work[arm.name] / work[base.name]:.2f} | "
            f"{saved:.2f} | {train} | {infer} | {step} |"
        )
    return lines


def take_turns(arms: list[Arm], image: torch.Tensor, args: argparse.Namespace) -> None:
    """Time a step and a pass of every arm, round by round."""
    optimizers = [torch.optim.SGD(a.network.parameters(), 1e-3, momentum=0.99, nesterov=True) for a in arms]
    cuda = args.device == "cuda"
    for round_number in range(args.rounds + 1):
        for arm, optimizer in zip(arms, optimizers, strict=True):
            trained = seconds(lambda a=arm, o=optimizer: train_once(a, image, o), cuda=cuda)
            inferred = seconds(lambda a=arm: infer_once(a, image), cuda=cuda)
            if round_number:  # the first round warms up
                arm.train_seconds.append(trained)
                arm.infer_seconds.append(inferred)


def _ratio(own: list[float], base: list[float]) -> str:
    if not own:
        return "-"
    ratios = [a / b for a, b in zip(own, base, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _commit() -> str:
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=tuple(DTYPES), default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rounds", type=int, default=5, help="0: count and trace, on any machine (5)")
    parser.add_argument("--batch-size", type=int, help="instead of the plan's")
    parser.add_argument("--shape", choices=[s.name for s in SHAPES], help="one of the two plans")
    parser.add_argument("--networks", nargs="+", choices=OURS, default=list(OURS))
    args = parser.parse_args()
    processor = platform.processor() or "CPU"
    if args.device == "cuda":
        processor = torch.cuda.get_device_name() if args.rounds else "a GPU that is not there"
    print(
        f"commit {_commit()}, torch {torch.__version__}, {processor}, {torch.get_num_threads()} threads, "
        f"{args.precision}{', compiled' if args.compile else ''}, {args.rounds} rounds\n"
    )
    print("| plan | network | parameters | operations | saved | training step | inference | step (s) |")
    print("|---|---|---|---|---|---|---|---|")
    for shape in SHAPES:
        if args.shape in (None, shape.name):
            print(
                *compare(shape, ["PlainConvUNet", *args.networks], args, resenc=False), sep="\n", flush=True
            )
            residual = [name for name in args.networks if name in RESIDUAL]
            if residual:
                names = ["ResidualEncoderUNet", *residual]
                print(*compare(shape, names, args, resenc=True), sep="\n", flush=True)


if __name__ == "__main__":
    main()
