"""Liver and liver tumor in CT: Task03 of the Medical Segmentation Decathlon (paper 004).

    nnunet_ext convert msd-liver Task03_Liver --dataset-id 509
    nnunet_ext convert msd-liver Task03_Liver --dataset-id 509 --target tumor
    nnunet_ext convert msd-liver NEW --like 509

Where to get it: http://medicaldecathlon.com.

Layout: ``dataset.json``, ``imagesTr/liver_0.nii.gz``, ``labelsTr/liver_0.nii.gz`` and, without labels,
``imagesTs/liver_132.nii.gz``. Cases keep these names; those that are called otherwise get numbers. New
patients lie in ``imagesTs`` and need no ``dataset.json``.

``nnUNetv2_convert_MSD_dataset -i Task03_Liver`` converts it as well. What this adds: the checks, one
orientation, the tumor alone where it is asked for, and a report.

Quirks and what is done about them:

- ``dataset.json`` says which cases there are: one whose file did not arrive is refused by name.
- Hidden files (``._liver_0.nii.gz``) are passed over.
- Not everybody has a tumor: its place is then background.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_ext.dataset_conversion import liver_tumor
from nnunet_ext.dataset_conversion.command import main
from nnunet_ext.dataset_conversion.declaration import Converter, Options, ReadCase, SourceCase
from nnunet_ext.dataset_conversion.volume_cases import read_pair

_DESCRIPTION = "dataset.json"
_LABELS = {"0": "background", "1": "liver", "2": "cancer"}
_ENDING = ".nii.gz"
_PUBLIC = re.compile(r"liver_\d+")


def discover(source: Path, options: Options) -> Sequence[SourceCase]:
    """The cases that ``dataset.json`` lists; where nothing is to train on, every image of ``imagesTs``.

    Raises:
        ValueError: there is no such file, or it describes another task.
    """
    has = {name: (source / name).exists() for name in (_DESCRIPTION, "imagesTr", "imagesTs")}
    if has == {_DESCRIPTION: False, "imagesTr": False, "imagesTs": True}:
        images = sorted((source / "imagesTs").glob(f"[!.]*{_ENDING}"))
        return [_case(source, [image], is_training=False) for image in images]
    content = _description(source / _DESCRIPTION)
    cases = []
    for entry in content["training"]:
        files = [source / entry["image"], source / entry["label"]]
        cases.append(_case(source, files, is_training=True))
    for entry in content["test"]:
        cases.append(_case(source, [source / entry], is_training=False))
    return sorted(cases, key=lambda case: case.source)


def read(case: SourceCase, options: Options) -> ReadCase:
    """CT and label of one patient."""
    found = read_pair(case, image="imagesT[rs]/*", label="labelsTr/*", channel="CT")
    return liver_tumor.with_target(found, options)


def _description(file: Path) -> dict[str, Any]:
    wanted = f"expected {_DESCRIPTION} of Task03_Liver with the labels {_LABELS} (or imagesTs alone)"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{wanted} at {file}, got none that can be read") from error
    if not isinstance(content, dict) or content.get("labels") != _LABELS:
        found = content.get("labels") if isinstance(content, dict) else content
        raise ValueError(f"{wanted} at {file}, got {found}")
    return {"training": content.get("training", []), "test": content.get("test", [])}


def _case(source: Path, files: Sequence[Path], *, is_training: bool) -> SourceCase:
    name = files[0].name.removesuffix(_ENDING)
    return SourceCase(
        source=name,
        folder=source,
        files=tuple(file for file in files if file.is_file()),
        # Anybody else's files may be called like patients.
        public_name=name if _PUBLIC.fullmatch(name) else "",
        is_training=is_training,
    )


CONVERTER = Converter(
    name="msd-liver",
    title="MSDLiver",
    summary="Task03 of the Medical Segmentation Decathlon: liver and liver tumor in CT (paper 004)",
    channels=("CT",),
    labels=liver_tumor.LABELS,
    discover=discover,
    read=read,
    options=(liver_tumor.TARGET,),
    configure=liver_tumor.configure,
    reference="Medical Segmentation Decathlon, http://medicaldecathlon.com",
    license="CC BY-SA 4.0",
)

if __name__ == "__main__":
    main("msd-liver")
