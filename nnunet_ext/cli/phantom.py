"""The verb ``phantom``: writes synthetic patients, as a clinic keeps them or as an nnU-Net raw dataset."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from textwrap import fill

from nnunet_ext.phantoms.clinic.catalog import CLINICS, DEFECTS, MODALITIES, NAMES, clinic_of, require_defects

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Write seeded synthetic patients. The same seed gives the same bytes; more cases leave the ones before as they
are. The folder that was written is printed.

phantoms:
  liver-target   abdominal CT with a low-contrast liver lesion (paper 004)
  coronary       contrast CT of the heart with the coronary arteries (paper 000)
  coronary-cta   the same patients as a hospital keeps them
  whole-heart    CT or MR of the heart with seven structures (paper 001); one seed is one patient in both
  lower-limb     CT of both legs around the knees with the bones (paper 002)
  brain-oar      CT, T1w and T2w of the head with eyes, lenses, optic nerves and chiasm (paper 003)

layouts:
  clinic   what `nnunet_ext convert` reads, in DIR/clinic: DICOM with RTSTRUCT (liver-target, brain-oar), with
           one PNG a slice (lower-limb) or with a label volume (coronary-cta), ImageCAS (coronary), MM-WHS
           (whole-heart); further patients in DIR/unseen (--test-cases); the labels that must come out in
           DIR/truth; a record in DIR/phantom.json
  nnunet   an nnU-Net raw dataset in DIR (liver-target alone)
"""
EPILOG = """\
example:
  nnunet_ext phantom liver-target --cases 20 --test-cases 5 --seed 1 --out "$nnUNet_raw"
  nnunet_ext phantom lower-limb --cases 8 --seed 1 --out legs --defect flipped-png --defect missing-slice
  nnunet_ext convert lower-limb legs/clinic --dataset-id 513

exit code: 0 done, 2 wrong usage or environment
"""
_NNUNET, _CLINIC = "nnunet", "clinic"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["liver-target", "--cases", "3", "--out", "raw"]).cases
        3
    """
    parser.description = DESCRIPTION + "\n" + _defects_by_clinic()
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("name", metavar="NAME", choices=NAMES, help=f"one of: {', '.join(NAMES)}")
    parser.add_argument("--cases", type=int, required=True, metavar="N", help="number of cases")
    parser.add_argument("--seed", type=int, default=0, help="decides everything random (0)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--layout",
        choices=(_NNUNET, _CLINIC),
        help="nnunet for liver-target without --defect, else clinic",
    )
    parser.add_argument(
        "--size-vox", type=int, nargs=3, metavar=("Z", "Y", "X"), help="voxels an axis (the clinic's own)"
    )
    parser.add_argument(
        "--spacing-mm",
        type=float,
        nargs=3,
        metavar=("Z", "Y", "X"),
        help="voxel size in mm (the clinic's own; what fills the usual field of view where a size is given)",
    )
    parser.add_argument("--modality", choices=MODALITIES, help="of whole-heart (CT)")
    parser.add_argument(
        "--misaligned",
        action="store_true",
        help="brain-oar: the head lies otherwise in the MR than in the CT, as before registration",
    )
    parser.add_argument(
        "--defect",
        action="append",
        default=[],
        metavar="NAME",
        help="what is wrong with a case: the first with the first case, and so on; see above",
    )
    parser.add_argument("--test-cases", type=int, default=0, metavar="M", help="number of unseen cases (0)")
    parser.add_argument(
        "--dataset-id", type=int, metavar="N", help="layout nnunet: number of the dataset (4)"
    )
    parser.add_argument("--no-pbar", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Write the patients and print the folder; returns the exit code."""
    by_default = _NNUNET if args.name == "liver-target" and not args.defect else _CLINIC
    layout = args.layout or by_default
    try:
        _check(args, layout)
        folder = _write_clinic(args) if layout == _CLINIC else _write_raw(args)
    except (ValueError, OSError) as error:
        logger.error("phantom %s: %s", args.name, error)
        return 2
    print(folder)
    return 0


def _check(args: argparse.Namespace, layout: str) -> None:
    """Raise ValueError for options that the layout has no use for: they would be taken for heard."""
    if layout == _NNUNET and args.name != "liver-target":
        raise ValueError("--layout nnunet is for liver-target alone; write the clinic, and convert it")
    alien = {
        _CLINIC: {"--dataset-id": args.dataset_id is not None},
        _NNUNET: {
            "--defect": bool(args.defect),
            "--modality": args.modality is not None,
            "--misaligned": args.misaligned,
        },
    }[layout]
    if given := [flag for flag, is_given in alien.items() if is_given]:
        raise ValueError(f"--layout {layout} takes no {', '.join(given)}")


def _write_clinic(args: argparse.Namespace) -> Path:
    # Before anything heavy is imported: a misspelt name is answered at once.
    require_defects(args.defect, clinic=clinic_of(args.name, modality=args.modality))
    from nnunet_ext.phantoms.clinic.write import CLINIC, write_clinic

    write_clinic(
        args.name,
        out=args.out,
        cases=args.cases,
        seed=args.seed,
        unseen_cases=args.test_cases,
        modality=args.modality,
        misaligned=args.misaligned,
        size_vox=args.size_vox,
        spacing_mm=args.spacing_mm,
        defects=args.defect,
        progress=not args.no_pbar,
    )
    folder: Path = args.out / CLINIC
    return folder


def _write_raw(args: argparse.Namespace) -> Path:
    from nnunet_ext.phantoms.liver_target import (
        DEFAULT_SIZE_VOX,
        PAPER_SPACING_MM,
        write_liver_target_dataset,
    )

    return write_liver_target_dataset(
        out=args.out,
        cases=args.cases,
        test_cases=args.test_cases,
        seed=args.seed,
        dataset_id=4 if args.dataset_id is None else args.dataset_id,
        size_vox=args.size_vox or DEFAULT_SIZE_VOX,
        spacing_mm=args.spacing_mm or PAPER_SPACING_MM,
        progress=not args.no_pbar,
    )


def _defects_by_clinic() -> str:
    """What can be planted where, for the help."""
    lines = ["defects (--defect), and in brackets what `convert` must then do:"]
    for name, defect in DEFECTS.items():
        outcome = f"refuse: {defect.expected}" if defect.expected else "come out right"
        where = "all" if len(defect.clinics) == len(CLINICS) else ", ".join(defect.clinics)
        text = f"{name}: {defect.summary} [{outcome}; {where}]"
        lines.append(
            fill(text, width=108, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)
        )
    return "\n".join(lines)
