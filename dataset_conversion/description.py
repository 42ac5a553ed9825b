"""What stands beside the images: the report of a conversion, and nnU-Net's ``dataset.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_ext.dataset_conversion.declaration import Color, Conversion, Converter
from nnunet_ext.dataset_conversion.records import FILE_ENDING, CaseResult

import nnunet_ext
from nnunet_ext.files import write_text
from nnunet_ext.laterality import AXIS, KEY

DESCRIPTION = "dataset.json"
REPORT = "conversion_report.json"
REPORT_OF_NEW = "conversion_report_imagesTs.json"
CONVERTER, COLORS = "converter", "colors"
# What stands for the value of an option that names a file: paths may tell who somebody is.
A_FILE = "a file"


def write_report(
    conversion: Conversion,
    results: Sequence[CaseResult],
    *,
    splits: str,
    file: str = REPORT,
    made_by: str = "",
) -> None:
    """List every case with what became of it; nothing in it tells who a patient is.

    Args:
        conversion: the run.
        results: its cases.
        splits: what became of the splits.
        file: name of the report.
        made_by: the converter that made the dataset, of new patients whom another may have read.
    """
    refused = sum(result.error is not None for result in results)
    report = {
        CONVERTER: _provenance(conversion),
        **({"dataset_made_by": made_by} if made_by else {}),
        "written": len(results) - refused,
        "refused": refused,
        "splits": splits,
        "cases": {result.case: _reported(result) for result in results},
    }
    write_text(conversion.dataset / file, json.dumps(report, indent=2) + "\n")


def write_description(conversion: Conversion, written: Sequence[CaseResult]) -> None:
    """Describe the dataset for nnU-Net, which sees it from now on."""
    converter = conversion.converter
    description: dict[str, Any] = {
        "channel_names": {str(i): name for i, name in enumerate(converter.channels)},
        **_labels(converter),
        "numTraining": sum(result.is_training for result in written),
        "file_ending": FILE_ENDING,
        "name": converter.title,
        "reference": converter.reference,
        "licence": converter.license,
        CONVERTER: _provenance(conversion),
    }
    if converter.pairs or converter.is_chiral:
        description[KEY] = {"pairs": [list(pair) for pair in converter.pairs], "axis": AXIS}
    if colors := _agreed_colors(written):
        description[COLORS] = colors
    description |= converter.description
    write_text(conversion.dataset / DESCRIPTION, json.dumps(description, indent=2) + "\n")


def read_description(dataset: Path) -> dict[str, Any]:
    """What ``dataset.json`` says.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no JSON object.
    """
    file = dataset / DESCRIPTION
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"expected an nnU-Net raw dataset, there is no {file}; a conversion writes it at its end, unless "
            "every case was refused"
        ) from error
    except ValueError as error:
        raise ValueError(f"{file} is not as nnU-Net wants it: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} is not as nnU-Net wants it: expected an object, got {content!r:.80}")
    return content


def read_provenance(dataset: Path) -> Mapping[str, Any]:
    """Which converter made a dataset and with what options; empty where none of ours did.

    Raises:
        FileNotFoundError: there is no description.
        ValueError: it is no JSON object.
    """
    provenance: Mapping[str, Any] = read_description(dataset).get(CONVERTER, {})
    return provenance


def _agreed_colors(written: Sequence[CaseResult]) -> dict[str, Color]:
    """The color of each label that has one and the same in every case that has any."""
    found: dict[str, set[Color]] = {}
    for result in written:
        for name, color in result.colors.items():
            found.setdefault(name, set()).add(color)
    return {name: next(iter(colors)) for name, colors in sorted(found.items()) if len(colors) == 1}


def _labels(converter: Converter) -> dict[str, Any]:
    """What nnU-Net trains on: the labels, or regions of them."""
    numbers = converter.numbers()
    if not converter.regions:
        return {"labels": numbers}
    regions = {region.name: [numbers[label] for label in region.labels] for region in converter.regions}
    plain = {name: numbers[name] for name in ("background", "ignore") if name in numbers}
    return {
        "labels": {"background": plain.pop("background"), **regions, **plain},
        "regions_class_order": [first for first, *_ in regions.values()],
    }


def _provenance(conversion: Conversion) -> dict[str, Any]:
    options = {
        name: A_FILE if isinstance(value, Path) else value
        for name, value in sorted(conversion.options.items())
    }
    return {"name": conversion.converter.name, "nnunet_ext": nnunet_ext.__version__, "options": options}


def _reported(result: CaseResult) -> dict[str, Any]:
    if result.error is not None:
        code, reason, remedy = result.error
        return {"status": "refused", "code": code, "reason": reason, "remedy": remedy}
    return {
        "status": "written",
        "notes": [str(note) for note in result.notes],
        **({"preparation": result.preparation} if result.preparation else {}),
        "voxels": result.voxels,
        "sha256": result.files,
    }
