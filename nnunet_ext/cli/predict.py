"""The verb ``predict``: nnU-Net's sliding window, faster on a CPU and in bounded memory."""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.cli.model_arguments import add_model_arguments, folds_of, model_folder
from nnunet_ext.cli.predict_report import described, summary
from nnunet_ext.cli.refine_arguments import add_refiner_arguments, refined

if TYPE_CHECKING:
    from nnunet_ext.inference.model import Model
    from nnunet_ext.inference.predictor import CasePredictor, Settings
    from nnunet_ext.inference.report import RunReport

logger = logging.getLogger(__name__)

# Options for a coarse model that runs, and for the windows that are proposed from what it finds.
OF_COARSE, OF_WINDOWS = ("coarse_model", "coarse_folds"), ("on_empty", "merge")

DESCRIPTION = """\
Predict images with a trained model, ours or vanilla nnU-Net's, into a folder that nnU-Net's postprocessing,
ensembling and evaluation take. Labels are those of nnUNetv2_predict, up to voxels where two classes are equal
within nnU-Net's own half precision.

Peak memory does not grow with classes x volume: planes of logits are resampled and turned into labels as soon
as no tile touches them any more. Tiles of one intensity, such as clipped air, are predicted once. The next
case is preprocessed while one is predicted. Of a cascade, both stages run, and our fine networks look only
where the coarse result says (docs/cascade.md). Finished cases are skipped when the command is typed again;
results of another model, other settings or another image are never taken for finished.
"""
EPILOG = """\
examples:
  nnunet_ext predict -i imagesTs -o predicted -d 4 -c 3d_fullres -tr nnUNetTrainerRASUNet
  nnunet_ext predict -i imagesTs -o predicted -m .../nnUNetTrainer__nnUNetPlans__3d_fullres -f 0 --device cpu
  nnunet_ext predict -i case_0000.nii.gz -o predicted -m MODEL --disable-mirroring --report report.json
  nnunet_ext predict -i imagesTs -o predicted -d 4 -c 3d_fullres --refiner     # what refine train made of it
  nnunet_ext predict -i imagesTs -o predicted -d 5 -c 3d_cascade_fullres -p nnUNetAGUNetPlans \\
      -tr nnUNetTrainerSkeletonCascade          # both stages

precision: float32 on a CPU and nnU-Net's float16 autocast on CUDA, unless --precision says otherwise.
bfloat16 is about twice as fast on CPUs that compute in it (AMX, AVX512-BF16) and changes labels at some
borders.

--skip-tolerance: with 0, only tiles that are constant to the bit are answered from memory, which changes no
voxel. Above 0 tiles within that distance of a constant (in normalized intensities) are taken for it where
that is background everywhere; the network was never asked, so no bound can be given: compare on your own
data.

exit code: 0 done, 1 some cases failed, 2 wrong usage or environment
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments; nnU-Net's spellings are taken, too.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parsed = parser.parse_args("-i in -o out -d 4 -c 3d_fullres -f 0 1 --disable_tta".split())
        >>> parsed.folds, parsed.disable_mirroring
        (['0', '1'], True)
    """
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "-i",
        dest="source",
        type=Path,
        nargs="+",
        required=True,
        metavar="IN",
        help="folder or image files",
    )
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="OUT", help="for results")
    add_model_arguments(parser)
    _add_cascade_arguments(parser)
    add_refiner_arguments(parser)
    _add_settings_arguments(parser)
    parser.add_argument(
        "--save-probabilities",
        "--save_probabilities",
        action="store_true",
        help="also .npz and .pkl",
    )
    parser.add_argument("--overwrite", action="store_true", help="predict finished cases again")
    parser.add_argument(
        "--continue-prediction",
        "--continue_prediction",
        action="store_true",
        help="as nnU-Net spells what is always done here: skip finished cases",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="times, memory and failures, JSON")
    parser.add_argument("--json", action="store_true", help="the same to stdout")
    parser.add_argument("--no-pbar", "--disable_progress_bar", action="store_true", help="no progress bars")


def _add_cascade_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cascades")
    group.add_argument(
        "--coarse-model", type=Path, metavar="MODEL", help="folder of the coarse model (beside the fine one)"
    )
    group.add_argument(
        "--coarse-folds", nargs="+", metavar="F", help="of the coarse model (those of the fine one)"
    )
    group.add_argument(
        "--on-empty",
        choices=("fullscan", "fallback", "empty", "fail"),
        help="where the coarse model finds nothing: look everywhere, look where the organ lies in others, "
        "write an empty label map, or fail that case (fullscan for skeletons, fallback for regions)",
    )
    group.add_argument(
        "--everywhere", action="store_true", help="slide over whole images, whatever the coarse model found"
    )
    group.add_argument("--windows-a-batch", type=int, default=4, metavar="N", help="proposed windows (4)")
    group.add_argument(
        "--merge",
        choices=("maximum", "gaussian"),
        help="of overlapping windows: the largest foreground probability, or a weighted mean (maximum for "
        "skeletons, gaussian for regions)",
    )
    group.add_argument(
        "--prev-stage-predictions",
        "-prev_stage_predictions",
        type=Path,
        metavar="DIR",
        help="predictions of the previous stage, for a cascade's second stage",
    )


def _add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how to predict")
    group.add_argument(
        "--step-size", "-step_size", type=float, default=0.5, metavar="S", help="of tiles, in patches (0.5)"
    )
    mirroring = group.add_mutually_exclusive_group()
    mirroring.add_argument(
        "--disable-mirroring", "--disable_tta", action="store_true", help="2 to 8 times faster, less accurate"
    )
    mirroring.add_argument(
        "--mirroring-axes", type=int, nargs="+", metavar="AXIS", help="of those that the model allows (all)"
    )
    group.add_argument(
        "--precision", choices=("float32", "bfloat16", "float16"), help="(float32; float16 on CUDA)"
    )
    group.add_argument(
        "--skip-tolerance",
        type=float,
        default=0.0,
        metavar="T",
        help="of constant tiles (0: to the bit)",
    )
    group.add_argument("--device", "-device", choices=("cpu", "cuda"), default="cuda", help="(cuda)")
    group.add_argument("--threads", type=int, metavar="N", help="of the network on a CPU (all cores)")
    group.add_argument(
        "--low-memory",
        action="store_true",
        help="on a CPU: give memory back between layers, for a lower peak and a longer wait",
    )


def run(args: argparse.Namespace) -> int:
    """Predict, report and return the exit code."""
    if args.device == "cpu":
        # Threads that wait by spinning keep the preprocessing of the next case from its work. Read when
        # torch is loaded, which is below.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        report = _predict(args)
        text = json.dumps(described(report, device=args.device), indent=1)
        if args.report is not None:
            from nnunet_ext.files import write_text

            write_text(args.report, text + "\n")
    except (ValueError, OSError, RuntimeError) as error:
        logger.error("predict: %s", error)
        return 2
    print(text if args.json else summary(report, args.output))
    return 1 if report.failed else 0


def predictor_for(model: Model, *, settings: Settings, args: argparse.Namespace) -> CasePredictor:
    """The predictor that a model wants: a sliding window, or both stages of a cascade.

    Args:
        model: loaded.
        settings: of the command line.
        args: the command line.

    Raises:
        ValueError: an option does not go with the model.
        ModelError: the coarse model of a cascade is missing.
    """
    from nnunet_ext.inference.predictor import SlidingWindowPredictor

    options: dict[str, Any] = {
        "settings": settings,
        "device": args.device,
        "progress": not args.no_pbar,
    }
    if model.previous_stage is None:
        of_cascades = ("prev_stage_predictions", "everywhere", *OF_COARSE, *OF_WINDOWS)
        _refuse(args, of_cascades, because=f"{model.configuration} has no previous stage")
        return SlidingWindowPredictor(model, **options)
    if args.prev_stage_predictions is not None:
        because = "with --prev-stage-predictions no coarse model runs, and the whole image is looked at"
        _refuse(args, (*OF_COARSE, *OF_WINDOWS), because=because)
        return SlidingWindowPredictor(model, **options)
    return _cascade_predictor(model, options, args)


def _refuse(args: argparse.Namespace, names: Sequence[str], *, because: str) -> None:
    """Raise where an option was given that would do nothing."""
    if given := [name for name in names if getattr(args, name)]:
        raise ValueError(f"{because}: leave --{given[0].replace('_', '-')} out")


def _cascade_predictor(model: Model, options: dict[str, Any], args: argparse.Namespace) -> CasePredictor:
    from nnunet_ext.cascade.case_predictor import CascadePredictor, CascadeSettings
    from nnunet_ext.cascade.model import load_coarse, proposals_of
    from nnunet_ext.cascade.settings import OnEmpty

    if args.windows_a_batch < 1:
        raise ValueError(f"expected --windows-a-batch of 1 or more, got {args.windows_a_batch}")
    proposals = None if args.everywhere else proposals_of(model)
    if proposals is None:
        _refuse(args, OF_WINDOWS, because="no windows are proposed: the whole image is looked at")
    coarse = load_coarse(model, folder=args.coarse_model, folds=folds_of(args.coarse_folds))
    logger.info(
        "coarse: %s %s, folds %s, from %s",
        coarse.trainer,
        coarse.configuration,
        list(coarse.folds),
        coarse.folder,
    )
    return CascadePredictor(
        model,
        coarse=coarse,
        proposals=proposals,
        cascade=CascadeSettings(
            on_empty=None if args.on_empty is None else OnEmpty(args.on_empty),
            windows_a_batch=args.windows_a_batch,
            merge=args.merge,
        ),
        **options,
    )


def _predict(args: argparse.Namespace) -> RunReport:
    import torch

    from nnunet_ext.inference.cases import find_cases
    from nnunet_ext.inference.memory import keep_freed_memory
    from nnunet_ext.inference.model import load_model
    from nnunet_ext.inference.predictor import Settings
    from nnunet_ext.inference.run import predict_cases

    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("expected a GPU for --device cuda, torch finds none; predict with --device cpu")
    if args.device == "cpu":
        torch.set_num_threads(_threads(args.threads))
        if not args.low_memory:
            keep_freed_memory()
    model = load_model(model_folder(args), folds=folds_of(args.folds), checkpoint=args.checkpoint)
    logger.info(
        "%s %s, folds %s, from %s", model.trainer, model.configuration, list(model.folds), model.folder
    )
    axes = () if args.disable_mirroring else args.mirroring_axes
    settings = Settings(
        step_size=args.step_size,
        mirroring_axes=None if axes is None else tuple(axes),
        precision=args.precision,
        skip_tolerance=args.skip_tolerance,
    )
    predictor = refined(predictor_for(model, settings=settings, args=args), args=args)
    is_folder = len(args.source) == 1 and args.source[0].is_dir()
    cases = find_cases(
        args.source[0] if is_folder else args.source,
        file_ending=model.file_ending,
        previous_stage=args.prev_stage_predictions,
    )
    return predict_cases(
        predictor,
        cases,
        output=args.output,
        probabilities=args.save_probabilities,
        overwrite=args.overwrite,
        arguments=_plain(args),
        progress=not args.no_pbar,
    )


def _threads(wanted: int | None) -> int:
    if wanted is not None and wanted < 1:
        raise ValueError(f"expected --threads of 1 or more, got {wanted}")
    if wanted is not None:
        return wanted
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _plain(args: argparse.Namespace) -> dict[str, Any]:
    return {
        name: value if isinstance(value, int | float | str | list | None) else str(value)
        for name, value in vars(args).items()
        if name != "verb"
    }
