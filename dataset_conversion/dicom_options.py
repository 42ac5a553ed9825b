"""Options that the converters of hospitals' DICOM folders share."""

from __future__ import annotations

from nnunet_ext.dataset_conversion.declaration import Option

PATIENTS = Option(
    "--patients",
    {
        "choices": ("dicom", "folder"),
        "default": "dicom",
        "help": "what tells patients apart: the PatientID, or, where anonymization gave all the same, "
        "the folder (dicom)",
    },
    may_differ=True,
)
SERIES = Option(
    "--series",
    {"metavar": "WORD", "help": "in the description of the CT series that is meant (any description)"},
    may_differ=True,
)
OVERLAPPING = Option(
    "--overlapping-contours",
    {
        "choices": ("refuse", "union", "xor"),
        "default": "refuse",
        "help": "contours of one structure that overlap in part: nobody knows what they mean, they are one "
        "area, or the overlap is left out (refuse)",
    },
    is_for_training=True,
)
