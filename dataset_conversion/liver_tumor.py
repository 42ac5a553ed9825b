"""Liver and tumor: what the converters of LiTS and of the Decathlon's Task03 share (SPEC D8)."""

from __future__ import annotations

from dataclasses import replace

from nnunet_ext.dataset_conversion.declaration import Converter, Label, Option, Options, ReadCase, Region
from nnunet_ext.dataset_conversion.volume_cases import with_numbers

# Some patients have no tumor.
LABELS = (Label("liver"), Label("tumor", "may_be_absent"))
REGIONS = (Region("whole liver", ("liver", "tumor")), Region("tumor", ("tumor",)))
LIVER_VALUE, TUMOR_VALUE = 1, 2
TARGET = Option(
    "--target",
    {
        "choices": ("tumor", "liver-tumor", "regions"),
        "default": "liver-tumor",
        "help": "the tumor alone, with the liver as background; liver and tumor as two labels; or the whole "
        "liver and the tumor in it as nnU-Net's regions (liver-tumor)",
    },
)


def configure(converter: Converter, options: Options) -> Converter:
    """The converter with the labels that ``--target`` asks for."""
    if _tumor_alone(options):
        return replace(converter, labels=LABELS[1:])
    return replace(converter, regions=REGIONS if options[TARGET.name] == "regions" else ())


def with_target(read: ReadCase, options: Options) -> ReadCase:
    """The case with the numbers of the target's labels.

    Raises:
        CaseError: ``label-value``.
    """
    if _tumor_alone(options):
        return with_numbers(read, {LIVER_VALUE: 0, TUMOR_VALUE: 1})
    return with_numbers(read, {LIVER_VALUE: 1, TUMOR_VALUE: 2})


def _tumor_alone(options: Options) -> bool:
    return bool(options[TARGET.name] == "tumor")
