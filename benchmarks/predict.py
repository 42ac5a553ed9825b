"""``nnunet_ext predict`` beside ``nnUNetv2_predict``: the same model, the same volume, in turns.

    python benchmarks/predict.py [--setting quarter] [--folder WORK] [--ways float32 low-memory]

``full`` is a CT of 275 x 512 x 512 voxels: on two cores without bfloat16 20 minutes for the model, 45 to 60
for nnU-Net and as much for ours; ``quarter`` a quarter of its voxels, 40 minutes in all. A CPU that does not
compute bfloat16 takes several times as long in it: there it is left out unless it is asked for.

Makes a CT-like volume (a body with organs of 15 classes and lungs in air, on a couch, noise) and a model
folder with nnU-Net's PlainConvUNet of 32 to 320 features, trained for some steps on patches of at most 64
voxels of this very volume: no model for anything, but its labels are smooth; how good they are is printed.
With --folder what has been measured is kept, and is not measured again.
Both commands run as child processes with two threads, one fold, no mirroring and a step of 0.5. nnU-Net's is
``nnUNetv2_predict_from_modelfolder``, with one process each for preprocessing and export.

Prints seconds (nnU-Net's parts by what it prints: its start is within preprocessing; ours from its report),
peak memory of all processes of a command (proportional set size, sampled so seldom that it takes at most a
twentieth of a core), and how many voxels agree.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from measured_commands import Measured, run
from numpy.typing import NDArray
from tqdm import tqdm

from nnunet_ext.files import whole_file, write_text

Size = tuple[int, int, int]
CLASSES = 15
SPACING_MM = (1.0, 0.8, 0.8)
# A little coarser than the image, so that nothing can be spared of resampling.
PLAN_SPACING_MM = (1.0, 0.82, 0.82)
FEATURES = (32, 64, 128, 256, 320, 320)
STATISTICS = {"mean": 40.0, "std": 120.0, "percentile_00_5": -900.0, "percentile_99_5": 700.0}


def make_volume(size: Size) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Image in HU and labels 0 to 15: an elliptic body with a couch below, organs of different tones."""
    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in size)]
    body = (y / 0.55) ** 2 + (x / 0.78) ** 2 < 1 + 0.02 * np.sin(9 * z)
    image = np.where(body, 0.0, -1000.0).astype(np.float32)
    image[(abs(y - 0.72) < 0.03) & (abs(x) < 0.8) & (z == z)] = -200  # the couch
    labels = np.zeros(size, np.uint8)
    for side in (-1, 1):
        image[(z + 0.5) ** 2 / 0.3 + (y / 0.4) ** 2 + ((x - 0.4 * side) / 0.25) ** 2 < 1] = -800
    for label in range(1, CLASSES + 1):
        center = rng.uniform(-1, 1, 3) * (0.8, 0.28, 0.45)
        axes = rng.uniform(0.16, 0.34, 3) * (1.4, 0.7, 0.8)
        inside = sum(((g - c) / a) ** 2 for g, c, a in zip((z, y, x), center, axes, strict=True)) < 1
        labels[inside & body] = label
        image[inside & body] = -500 + 75 * label
    image += rng.normal(0, 12, size).astype(np.float32)
    return image.round().astype(np.int16), labels


def write_model(
    folder: Path, *, patch: Size, image: NDArray[np.int16], labels: NDArray[np.uint8], steps: int
) -> None:
    """A model folder with one fold, trained for some steps."""
    import torch
    from torch import nn

    stages = next(n for n in range(2, 7) if n == 6 or min(patch) // 2**n < 4)
    plans = _plans(patch, stages)
    names = {f"structure_{n}": n for n in range(1, CLASSES + 1)}
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **names},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    torch.manual_seed(0)
    network = nnUNetTrainer.build_network_architecture(
        manager, manager.get_configuration("3d_fullres"), 1, CLASSES + 1, enable_deep_supervision=False
    ).eval()
    # As nnU-Net's trainer begins.
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=0.01)
            nn.init.zeros_(module.bias)
    _train(network, patch=patch, image=image, labels=labels, steps=steps)
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(description))
    checkpoint = {
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "3d_fullres"},
        "inference_allowed_mirroring_axes": (0, 1, 2),
        "network_weights": network.state_dict(),
    }
    with whole_file(folder / "fold_0" / "checkpoint_final.pth") as temporary:
        torch.save(checkpoint, temporary)


def _plans(patch: Size, stages: int) -> dict[str, Any]:
    resample = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    function = "resample_data_or_seg_to_shape"
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(FEATURES[:stages]),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1], *[[2, 2, 2]] * (stages - 1)],
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {
        "data_identifier": "predict",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
        "spacing": list(PLAN_SPACING_MM),
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": function,
        "resampling_fn_data_kwargs": resample,
        "resampling_fn_seg": function,
        "resampling_fn_seg_kwargs": {**resample, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": function,
        "resampling_fn_probabilities_kwargs": {**resample, "order": 1},
        "batch_dice": False,
        "architecture": architecture,
    }
    return {
        "dataset_name": "Dataset991_predict",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": STATISTICS},
    }


def _train(
    network: Any, *, patch: Size, image: NDArray[np.int16], labels: NDArray[np.uint8], steps: int
) -> None:
    """Adam on single patches around voxels of every class in turn."""
    import torch

    rng = np.random.default_rng(1)
    size = [min(n, 64) for n in patch]
    places = [np.argwhere(labels[::4, ::4, ::4] == n) * 4 for n in range(CLASSES + 1)]
    places = [p for p in places if len(p)]
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    network.train()
    losses = []
    for step in tqdm(range(steps), unit="step"):
        around = places[step % len(places)]
        center = around[rng.integers(len(around))] + rng.integers(-8, 9, 3)
        room = np.subtract(image.shape, size)
        origin = np.clip(center - np.array(size) // 2, 0, np.maximum(room, 0))
        part = tuple(slice(o, o + s) for o, s in zip(origin, size, strict=True))
        tile = image[part].astype(np.float32)
        tile = tile.clip(STATISTICS["percentile_00_5"], STATISTICS["percentile_99_5"])
        tile = (tile - STATISTICS["mean"]) / STATISTICS["std"]
        logits = network(torch.from_numpy(tile)[None, None])
        target = torch.from_numpy(labels[part].astype(np.int64))[None]
        loss = torch.nn.functional.cross_entropy(logits, target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    network.eval()
    shown = f"{np.mean(losses[:10]):.2f} to {np.mean(losses[-10:]):.2f}" if losses else "untrained"
    print(f"{steps} training steps, cross-entropy {shown}", file=sys.stderr, flush=True)


def run_stock(folder: Path, threads: int) -> Measured:
    """nnU-Net's command as its documentation types it."""
    command = [
        str(Path(sys.executable).with_name("nnUNetv2_predict_from_modelfolder")),
        *("-i", str(folder / "in"), "-o", str(folder / "stock"), "-m", str(folder / "model"), "-f", "0"),
        *("-device", "cpu", "--disable_tta", "-npp", "1", "-nps", "1", "--disable_progress_bar"),
    ]
    # nnU-Net takes all cores, but not more threads than this.
    environment = {**_environment(), "nnUNet_def_n_proc": str(threads)}
    measured, lines = run(command, environment, folder / "stock.log")
    predicting = next(when for when, line in lines if line.startswith("Predicting"))
    sent = next(when for when, line in lines if line.startswith("sending off"))
    measured.parts_s = {
        "start and preprocessing": predicting,
        "network": sent - predicting,
        "resampling and export": measured.wall_s - sent,
    }
    return measured


def run_ours(folder: Path, threads: int, way: str) -> Measured:
    """Our command."""
    report = folder / f"{way}.json"
    command = [
        *(sys.executable, "-m", "nnunet_ext", "predict", "-i", str(folder / "in")),
        *("-o", str(folder / way), "-m", str(folder / "model"), "-f", "0", "--no-pbar"),
        *("--device", "cpu", "--disable-mirroring", "--threads", str(threads), *WAYS[way]),
        *("--report", str(report), "--overwrite"),
    ]
    measured, _ = run(command, _environment(), folder / f"{way}.log")
    (case,) = json.loads(report.read_text())["cases"]
    seconds = case["seconds"]
    rest = measured.wall_s - sum(seconds.values())
    measured.parts_s = {
        "start and preprocessing": seconds["preprocessing"] + rest,
        "network": seconds["network"],
        "resampling and export": seconds["resampling"] + seconds["export"],
    }
    measured.note = f"{case['tiles']} tiles, {case['constant_tiles']} of them constant"
    return measured


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("nnUNet_", "OMP_", "MALLOC_"))}
    folders = {f"nnUNet_{name}": tempfile.gettempdir() for name in ("raw", "preprocessed", "results")}
    return {**kept, **folders, "PYTHONUNBUFFERED": "1"}


def read_labels(folder: Path) -> NDArray[Any]:
    """The label map of a run."""
    import SimpleITK as sitk

    array: NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "case.nii.gz")))
    return array


def show(name: str, measured: Measured, stock: Measured | None) -> None:
    """One row of the table."""
    parts = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in measured.parts_s.items())
    line = f"{name:20} {measured.wall_s:6.0f} s ({parts}); peak {measured.peak_mib:.0f} MiB"
    if stock is not None:
        line += f"; wall {measured.wall_s / stock.wall_s:.2f}, network "
        line += f"{measured.parts_s['network'] / stock.parts_s['network']:.2f}, "
        line += f"memory {measured.peak_mib / stock.peak_mib:.2f} of nnU-Net's; {measured.note}"
    print(line, flush=True)


def dice(a: NDArray[Any], b: NDArray[Any]) -> list[float]:
    """Of each class that is in either."""
    both, first, second = (
        np.bincount(m.ravel(), minlength=CLASSES + 1)[1:] for m in (np.where(a == b, a, 0), a, b)
    )
    total = first + second
    return list(2 * both[total > 0] / total[total > 0])


@dataclass(frozen=True)
class Setting:
    """How large the benchmark is.

    Attributes:
        size_vox: of the volume.
        patch_vox: of the network.
        training_steps: of the model.
    """

    size_vox: Size = (275, 512, 512)
    patch_vox: Size = (128, 128, 128)
    training_steps: int = 200


# Of ours, with what is typed for each.
WAYS = {
    "float32": ("--precision", "float32"),
    "low-memory": ("--precision", "float32", "--low-memory"),
    "bfloat16": ("--precision", "bfloat16"),
}
SETTINGS = {"full": Setting(), "quarter": Setting(size_vox=(275, 256, 256))}


def require_same(folder: Path, setting: Setting, threads: int) -> None:
    """What is kept in a folder is of one setting."""
    file, now = folder / "setting.json", json.loads(json.dumps({**asdict(setting), "threads": threads}))
    before = json.loads(file.read_text()) if file.is_file() else now
    if before != now:
        raise SystemExit(f"{folder} was begun with {before}, now {now}: take another folder")
    write_text(file, json.dumps(now))


def kept(file: Path, measure: Callable[[], Measured]) -> Measured:
    """What was measured before, or is now and kept."""
    if not file.is_file():
        write_text(file, json.dumps(asdict(measure())))
    return Measured(**json.loads(file.read_text()))


def main() -> None:
    """Make the data, run both, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--setting", choices=SETTINGS, default="full", help="(full)")
    parser.add_argument("--size-vox", type=int, nargs=3, metavar=("Z", "Y", "X"), help="instead of its own")
    parser.add_argument("--patch-vox", type=int, nargs=3, metavar=("Z", "Y", "X"), help="instead of its own")
    parser.add_argument("--training-steps", type=int, metavar="N", help="instead of its own")
    parser.add_argument(
        "--ways", nargs="+", choices=WAYS, help="of ours (all; bfloat16 where the CPU computes it)"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="to keep everything in, and to go on from")
    args = parser.parse_args()
    import SimpleITK as sitk
    import torch

    from nnunet_ext.inference.memory import keep_freed_memory
    from nnunet_ext.precision import cpu_computes_bfloat16

    named = ("size_vox", "patch_vox", "training_steps")
    changed = {name: getattr(args, name) for name in named if getattr(args, name) is not None}
    setting = replace(SETTINGS[args.setting], **changed)
    ways = args.ways or [way for way in WAYS if way != "bfloat16" or cpu_computes_bfloat16()]
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # while the model is trained; commands have processes of their own
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        (folder / "in").mkdir(parents=True, exist_ok=True)
        require_same(folder, setting, args.threads)
        image, labels = make_volume(setting.size_vox)
        written = sitk.GetImageFromArray(image)
        written.SetSpacing([float(s) for s in reversed(SPACING_MM)])
        sitk.WriteImage(written, str(folder / "in" / "case_0000.nii.gz"))
        if not (folder / "model" / "fold_0" / "checkpoint_final.pth").is_file():
            write_model(
                folder / "model",
                patch=setting.patch_vox,
                image=image,
                labels=labels,
                steps=setting.training_steps,
            )
        del image, written
        versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("nnunetv2", "torch"))
        print(
            f"{' x '.join(map(str, setting.size_vox))} voxels, "
            f"PlainConvUNet, patch {' x '.join(map(str, setting.patch_vox))}, "
            f"{CLASSES} classes, {args.threads} threads; {platform.processor() or platform.machine()}, "
            f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}",
            flush=True,
        )
        stock = kept(folder / "stock.json", lambda: run_stock(folder, args.threads))
        show("nnUNetv2_predict", stock, None)
        expected = read_labels(folder / "stock")
        truth = dice(expected, labels)
        print(f"  mean Dice of nnU-Net's labels with the truth: {np.mean(truth):.3f} of {len(truth)} classes")
        for way in ways:
            ours = kept(
                folder / f"ours-{way}.json",
                lambda way=way: run_ours(folder, args.threads, way),  # type: ignore[misc]
            )
            show(f"ours, {way}", ours, stock)
            got = read_labels(folder / way)
            change = np.subtract(dice(got, labels), truth)
            print(
                f"  labels agree in {100 * np.mean(got == expected):.4f} % of voxels "
                f"({np.count_nonzero(got != expected)} differ); mean Dice with the truth "
                f"{np.mean(change):+.5f}, any class {max(change, key=abs):+.5f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
