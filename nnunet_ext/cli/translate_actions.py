"""What the actions of the verb ``translate`` do; imports what they need."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.dataset_conversion.description import read_description
from nnunet_ext.dataset_conversion.raw_folder import (
    existing_dataset,
    folder_to_write,
    preprocessed_folder,
    raw_folder,
)
from nnunet_ext.laterality import laterality_of, patch_axis
from nnunet_ext.planning.plan import plan as plan_dataset
from nnunet_ext.planning.request import PlanRequest
from nnunet_ext.synthetic import KEY
from nnunet_ext.translation.apply import CaseTranslator
from nnunet_ext.translation.dataset import Method, Outcome, translate_dataset
from nnunet_ext.translation.domains import Domain, read_domain
from nnunet_ext.translation.folder import WARNING, load_model
from nnunet_ext.translation.match import HistogramMatcher, look_at_ct
from nnunet_ext.translation.mix import mix as mix_datasets
from nnunet_ext.translation.settings import Settings, default_layers
from nnunet_ext.translation.training import Machine, Schedule
from nnunet_ext.translation.training import train as train_translation

logger = logging.getLogger(__name__)


def plan(args: argparse.Namespace) -> int:
    """Plans with common spacing and patch for both datasets."""
    datasets = [existing_dataset(named, raw=None).name for named in (args.mr, args.ct)]
    for name, window in zip(datasets, (None, tuple(args.window)), strict=True):
        planned = plan_dataset(
            PlanRequest(
                dataset=name,
                network="AGUNet",  # its architecture stays unused: a translation has its own
                plans_name=args.plans_name,
                spacing_mm=tuple(args.spacing_mm),
                patch_size=tuple(args.patch_size),
                batch_size=2,
                exceeds_memory=True,
                window=window,
            )
        )
        print(f"Plans: {planned.file}")
    print("Next:")
    print(
        f"  nnUNetv2_preprocess -d {' '.join(datasets)} -plans_name {args.plans_name} -c 3d_fullres -np 2\n"
        f"  nnunet_ext translate train {datasets[0]} {datasets[1]} --out DIR"
    )
    return 0


def train(args: argparse.Namespace) -> int:
    """Learn the translation, or go on."""
    mr = _domain(args.mr, args, channel=args.mr_channel)
    ct = _domain(args.ct, args, channel=args.ct_channel)
    settings = Settings(
        steps=args.steps,
        generator_features=args.features,
        generator_blocks=args.blocks,
        discriminator_features=args.discriminator_features,
        discriminator_layers=args.discriminator_layers or default_layers(mr.patch_size),
        cycle_weight=args.cycle_weight,
        identity_weight=args.identity_weight,
        structure_weight=args.structure_weight,
        anchored=args.anchored,
        pool_size=args.pool_size,
        learning_rate=args.learning_rate,
        batch_size=args.batch_size,
        mr_percentiles=tuple(args.mr_percentiles),
        mirroring_axes=_mirroring_axes(mr, ct),
        seed=args.seed,
        precision=args.precision,
    )
    schedule = Schedule(
        checkpoint_every=args.checkpoint_every,
        picture_every=args.picture_every,
        workers=args.workers,
        progress=not args.no_pbar,
    )
    machine = Machine(accelerator=args.device, devices=args.devices, nodes=args.nodes)
    done = train_translation(
        mr, ct, settings, folder=args.out, patch_size=mr.patch_size, machine=machine, schedule=schedule
    )
    if done.is_first_process:
        print(json.dumps({"model": str(args.out), "steps": done.steps, "left_out": len(done.refused)}))
    return 1 if done.refused else 0


def apply(args: argparse.Namespace) -> int:
    """A raw dataset of synthetic CT."""
    model = load_model(args.model)
    source, dataset = _source_and_target(args)
    names = read_description(source)["channel_names"]
    trained_on = dict(model.dataset_json["channel_names"])
    if {k: str(v).lower() for k, v in names.items()} != {k: str(v).lower() for k, v in trained_on.items()}:
        raise ValueError(
            f"the translation knows images of channels {trained_on}, got {names} in {source}; train one on "
            "such images"
        )
    if not model.is_complete and not args.unfinished:
        raise ValueError(
            f"{args.model} was trained {model.record['steps_done']} of {model.settings.steps} steps; finish "
            "it with nnunet_ext translate train, or give --unfinished"
        )
    translator = CaseTranslator(
        model,
        device=args.device,
        step_size=args.step_size,
        any_spacing=args.any_spacing,
        progress=not args.no_pbar,
    )
    made_by = {"method": "cyclegan", "model": model.identity(), "step_size": args.step_size}
    method = Method(translator, made_by, model.target)
    return _report(translate_dataset(source, dataset, method, progress=not args.no_pbar), dataset)


def match(args: argparse.Namespace) -> int:
    """The control by histograms."""
    source, dataset = _source_and_target(args)
    real = existing_dataset(args.ct, raw=None)
    try:
        look = look_at_ct(real, channel=args.ct_channel, progress=not args.no_pbar)
    except CaseError as error:
        raise ValueError(f"{real.name}: {error}") from error
    made_by = {"method": "histogram matching", "reference": real.name, "channel": args.mr_channel}
    method = Method(HistogramMatcher(look, channel=args.mr_channel), made_by, look.target)
    return _report(translate_dataset(source, dataset, method, progress=not args.no_pbar), dataset)


def mix(args: argparse.Namespace) -> int:
    """Real and synthetic CT in one dataset."""
    real = existing_dataset(args.real, raw=None)
    dataset = folder_to_write(args.dataset_id, args.name, raw=raw_folder(None))
    patients = None if args.patients is None else _patients(args.patients)
    mixed = mix_datasets(
        real,
        existing_dataset(args.synthetic, raw=None),
        dataset,
        fraction=args.fraction,
        of=args.of,
        seed=args.seed,
        patients=patients,
        preprocessed_real=preprocessed_folder(real),
        preprocessed=preprocessed_folder(dataset),
        progress=not args.no_pbar,
    )
    summary = {
        "dataset": str(dataset),
        "real": mixed.real,
        KEY: len(mixed.synthetic),
        "of_a_real_patient": len(mixed.with_real_patient),
    }
    print(json.dumps(summary))
    return 0


def _domain(named: str, args: argparse.Namespace, *, channel: int) -> Domain:
    dataset = existing_dataset(named, raw=None)
    folder = preprocessed_folder(dataset)
    if folder is None:
        raise ValueError("nnU-Net's variable nnUNet_preprocessed is not set")
    return read_domain(folder, plans_name=args.plans_name, configuration=args.configuration, channel=channel)


def _mirroring_axes(mr: Domain, ct: Domain) -> tuple[int, ...]:
    """Every axis but left and right, where a dataset says that they are not the same."""
    kept = {0, 1, 2}
    for domain in (mr, ct):
        laterality = laterality_of(domain.dataset_json)
        if laterality is not None:
            transposed: Sequence[int] = domain.plans_manager.transpose_forward
            axis = patch_axis(laterality.axis, transpose_forward=transposed, dimensions=3)
            kept -= {axis} if axis is not None else set()
    return tuple(sorted(kept))


def _source_and_target(args: argparse.Namespace) -> tuple[Path, Path]:
    return (
        existing_dataset(args.mr, raw=None),
        folder_to_write(args.dataset_id, args.name, raw=raw_folder(None)),
    )


def _patients(file: Path) -> dict[str, str]:
    content: Any = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise ValueError(f'expected {{"case": "patient", ...}} in {file}, got {content!r:.80}')
    return content


def _report(outcome: Outcome, dataset: Path) -> int:
    for case in outcome.implausible:
        logger.warning("%s: a label has HU that no real CT had; see translation_report.json", case)
    summary = {
        "dataset": str(dataset),
        "written": len(outcome.written),
        "refused": len(outcome.refused),
        "implausible": len(outcome.implausible),
    }
    print(json.dumps(summary))
    logger.warning(WARNING)
    return 1 if outcome.refused else 0
