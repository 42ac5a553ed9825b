"""Liver and tumor: what the converters of LiTS and of the Decathlon's Task03 share (SPEC D8)."""

from __future__ import annotations

from dataclasses import replace

from nnunet_ext.dataset_conversion.declaration import Converter, Label, Option, Options, ReadCase
from nnunet_ext.dataset_conversion.volume_cases import with_numbers

# Some patients have no tumor.
LABELS = (Label("liver"), Label("tumor", "may_be_absent"))
LIVER_VALUE, TUMOR_VALUE = 1, 2
TARGET = Option(
    "--target",
    {
        "choices": ("tumor", "liver-tumor"),
        "default": "liver-tumor",
        "help": "the tumor alone, with the liver as background, or both (liver-tumor)",
    },
)


def configure(converter: Converter, options: Options) -> Converter:
    """The converter with the labels that ``--target`` asks for."""
    return replace(converter, labels=LABELS[1:] if _tumor_alone(options) else LABELS)


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
