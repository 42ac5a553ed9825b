"""The verb ``export``: predicted labels back to the clinic, as RTSTRUCT on the original DICOM series."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Write what nnUNetv2_predict segmented as an RTSTRUCT on the patient's own DICOM series, for a planning system
to load. Names come from the model's dataset.json, which nnU-Net puts beside its predictions, and so do colors
where it has some, such as those of the RTSTRUCT that were converted: "colors": {"GTV": [255, 0, 0]}. Contours
give back the same voxels, holes and oblique series included. A structure that was not found is listed empty.

That it is the series which was predicted is checked by its grid and by the key file of the dataset (see
convert), or with --image by its voxels, which a preparation must not have changed. The file is marked as
unapproved: a person approves it.
"""
EPILOG = """\
examples:
  nnunet_ext export predictions/LiverTarget_021.nii.gz CLINIC/patient_x --out patient_x_nnunet.dcm
  nnunet_ext export case.nii.gz SERIES --image imagesTs/case_0000.nii.gz --out rs.dcm

exit code: 0 done, 1 the case was refused, 2 wrong usage or environment
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["case.nii.gz", "series", "--out", "rs.dcm"]).modality
        'CT'
    """
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("prediction", metavar="PRED", type=Path, help="label map that nnU-Net predicted")
    parser.add_argument("series", metavar="SERIES", type=Path, help="folder of the DICOM series")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="RTSTRUCT to write")
    parser.add_argument("--modality", choices=("CT", "MR"), default="CT", help="of the series (CT)")
    parser.add_argument(
        "--dataset-json", type=Path, metavar="FILE", help="names of the labels (beside the prediction)"
    )
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--key", type=Path, metavar="FILE", help="key file (~/.nnunet_ext/keys/DATASET.json)")
    whose.add_argument("--image", type=Path, metavar="FILE", help="the nnU-Net image that was predicted")


def run(args: argparse.Namespace) -> int:
    """Write the RTSTRUCT and print its structures as JSON; returns the exit code."""
    from nnunet_ext.clinical_io import CaseError
    from nnunet_ext.dataset_conversion.way_back import description_of, export, key_of

    try:
        beside = args.prediction.parent
        description = description_of(beside, args.dataset_json)
        key = None if args.image is not None else key_of(beside, args.key)
        done = export(
            args.prediction,
            args.series,
            description=description,
            file=args.out,
            modality=args.modality,
            key=key,
            image=args.image,
        )
    except CaseError as error:
        logger.error("export: %s", error)
        return 1
    except (ValueError, KeyError, OSError) as error:
        logger.error("export: %s", error)
        return 2
    print(json.dumps({"file": str(done.file), "voxels": done.voxels}))
    return 0
