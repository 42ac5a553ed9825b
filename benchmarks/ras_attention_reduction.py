"""Inner channels of RAS U-Net's spatial attention: r = 1, 4 and 16 compared on one dataset.

Needs a dataset that is planned and preprocessed for 3d_fullres and nnU-Net's environment variables:

    python benchmarks/ras_attention_reduction.py Dataset004_Hippocampus --epochs 10 --iterations 25

For each r it writes plans that name RASUNet with that ``attention_reduction`` (preprocessed data are shared),
trains fold 0 with ``nnUNetv2_train`` and reads the validation Dice. Step times and the bytes saved for the
backward pass are measured side by side, interleaved, with vanilla nnU-Net's network of the same plan.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from nnunet_ext.trainers.precision import bfloat16_forward
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

REDUCTIONS = (1, 4, 16)


def write_plans(dataset: Path) -> None:
    """Plans named nnUNetPlans_r<r> beside the dataset's own."""
    for reduction in REDUCTIONS:
        plans = json.loads((dataset / "nnUNetPlans.json").read_text())
        plans["plans_name"] = f"nnUNetPlans_r{reduction}"
        for configuration in plans["configurations"].values():
            if "architecture" in configuration:
                configuration["architecture"]["network_class_name"] = "nnunet_ext.networks.RASUNet"
                configuration["architecture"]["arch_kwargs"]["attention_reduction"] = reduction
        (dataset / f"{plans['plans_name']}.json").write_text(json.dumps(plans, indent=4))


def build(dataset: Path, plans_name: str, num_classes: int) -> tuple[nn.Module, list[int], int]:
    """Network, patch size and batch size of a plan."""
    plans = PlansManager(str(dataset / f"{plans_name}.json"))
    configuration = plans.get_configuration("3d_fullres")
    torch.manual_seed(0)
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        1,
        num_classes,
        deep_supervision=True,
    )
    return network, list(configuration.patch_size), configuration.batch_size


def saved_bytes(network: nn.Module, image: torch.Tensor) -> int:
    """Bytes of the distinct storages that autograd keeps for the backward pass, parameters left out."""
    parameters = {p.untyped_storage().data_ptr() for p in network.parameters()}
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), bfloat16_forward(network):
        network(image)
    return sum(storages.values())


def step_times(networks: dict[str, nn.Module], batch: torch.Tensor, *, classes: int, repeats: int) -> Any:
    """Seconds of one training step of each network, interleaved."""
    loss = DC_and_CE_loss(
        {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False},
        {},
        dice_class=MemoryEfficientSoftDiceLoss,
    )
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for repeat in range(repeats + 1):
        for name, network in networks.items():
            optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.99, nesterov=True)
            start = time.perf_counter()
            with bfloat16_forward(network):
                outputs = network(batch)
            targets = [torch.randint(0, classes, (o.shape[0], 1, *o.shape[2:])).float() for o in outputs]
            weights = [1 / 2**i for i in range(len(outputs))]
            DeepSupervisionWrapper(loss, weights)(outputs, targets).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
            optimizer.step()
            if repeat > 0:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    return seconds


def train(dataset: str, *, reduction: int, epochs: int, iterations: int) -> dict[str, float]:
    """Validation Dice of fold 0 after training with stock nnU-Net."""
    trainer = f"nnUNetTrainerRASUNet_{epochs}epochs_{iterations}iters"
    plans = f"nnUNetPlans_r{reduction}"
    command = ["nnUNetv2_train", dataset, "3d_fullres", "0", "-tr", trainer, "-p", plans, "-device", "cpu"]
    results = Path(os.environ["nnUNet_results"]) / dataset / f"{trainer}__{plans}__3d_fullres" / "fold_0"
    summary = results / "validation" / "summary.json"
    if not summary.is_file():
        print("+", " ".join(command), file=sys.stderr)
        results.mkdir(parents=True, exist_ok=True)
        with (results / "console.log").open("a") as log:
            # Threads that wait by spinning keep nnU-Net's loader from its work on a small machine.
            environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
            subprocess.run(
                [*command, "--c"], check=True, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
    return {label: values["Dice"] for label, values in json.loads(summary.read_text())["mean"].items()}


def main() -> None:
    """Measure, train, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-training", action="store_true", help="step times and memory only")
    args = parser.parse_args()
    dataset = Path(os.environ["nnUNet_preprocessed"]) / args.dataset
    classes = len(json.loads((dataset / "dataset.json").read_text())["labels"])
    write_plans(dataset)
    names = ["nnUNetPlans", *(f"nnUNetPlans_r{r}" for r in REDUCTIONS)]
    built = {name: build(dataset, name, classes) for name in names}
    _, patch, batch_size = built["nnUNetPlans"]
    networks = {
        name: network.to(memory_format=torch.channels_last_3d) for name, (network, _, _) in built.items()
    }
    batch = torch.randn(batch_size, 1, *patch)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, bfloat16 forward, {batch.shape}")
    seconds = step_times(networks, batch, classes=classes, repeats=args.repeats)
    vanilla_bytes = saved_bytes(networks["nnUNetPlans"], batch)
    for name, network in networks.items():
        ratios = [a / b for a, b in zip(seconds[name], seconds["nnUNetPlans"], strict=True)]
        ratio = saved_bytes(network, batch) / vanilla_bytes
        print(
            f"{name:16} {sum(p.numel() for p in network.parameters()) / 1e6:6.2f} M parameters, "
            f"step {statistics.median(seconds[name]):5.2f} s = {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}) of vanilla, saved activations {ratio:.2f}"
        )
    for reduction in () if args.no_training else REDUCTIONS:
        dice = train(args.dataset, reduction=reduction, epochs=args.epochs, iterations=args.iterations)
        print(f"r = {reduction:2}: validation Dice", {k: round(v, 4) for k, v in dice.items()}, flush=True)


if __name__ == "__main__":
    main()
