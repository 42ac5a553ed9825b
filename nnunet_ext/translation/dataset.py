"""Every labeled case of an MR dataset becomes synthetic CT, in a raw dataset of its own, with its label."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from tqdm import tqdm

from nnunet_ext.clinical_io import CaseError, read_volume
from nnunet_ext.clinical_io.grids import require_same_grid
from nnunet_ext.clinical_io.volumes import ENDINGS, write_image
from nnunet_ext.dataset_conversion.description import DESCRIPTION, read_description
from nnunet_ext.dataset_conversion.raw_dataset import labeled_cases, require_complete
from nnunet_ext.files import checksum, whole_file, write_text
from nnunet_ext.synthetic import KEY
from nnunet_ext.translation.apply import SyntheticImage
from nnunet_ext.translation.folder import WARNING
from nnunet_ext.translation.labels import label_names
from nnunet_ext.translation.plausibility import plausibility
from nnunet_ext.translation.target import TargetStatistics

logger = logging.getLogger(__name__)

REPORT = "translation_report.json"
CT_CHANNEL = "CT"
Translate = Callable[[Sequence[Path]], SyntheticImage]


@dataclass(frozen=True)
class Method:
    """How images are translated.

    Attributes:
        translate: from the files of a case, one for each channel.
        made_by: everything that decides about the result, as plain values, for the record.
        target: what real CT looks like.
    """

    translate: Translate
    made_by: Mapping[str, Any]
    target: TargetStatistics


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        written: names of cases.
        refused: why others were not, by name.
        implausible: cases with a label whose HU no real CT had.
    """

    written: tuple[str, ...]
    refused: Mapping[str, str]
    implausible: tuple[str, ...]


def translate_dataset(source: Path, dataset: Path, method: Method, *, progress: bool = True) -> Outcome:
    """Write a raw dataset of synthetic CT; labels are copied byte by byte.

    Images keep the geometry of the MR. What was written before, by the same method from the same files, is
    left as it is.

    Args:
        source: raw dataset; unlabeled images (imagesTs) are not translated.
        dataset: raw dataset to write.
        method: how.
        progress: show a bar.

    Raises:
        ValueError: the dataset holds something else, there is no case, or images are not volumes.
        OSError: it cannot be written.
    """
    content = read_description(source)
    ending = content["file_ending"]
    if ending not in ENDINGS:
        raise ValueError(f"expected volumes ({', '.join(ENDINGS)}), got images that end with {ending}")
    cases = labeled_cases(source)
    report = _Report(dataset, method.made_by, source)
    names = label_names(content)
    for case in tqdm(cases, desc="Synthetic CT", unit="case", disable=not progress):
        try:
            require_complete(case, channels=len(content["channel_names"]), labels=1)
            if not report.has(case.public_name, case.files):
                report.add(
                    case.public_name, _write_case(dataset, case.public_name, case.files, method, names)
                )
        except (CaseError, OSError) as error:
            logger.error("%s is not translated: %s", case.public_name, error)
            report.refuse(case.public_name, str(error))
    written = report.written
    if written:
        _describe(dataset, content, method.made_by, written)
    return Outcome(written, report.refused, report.implausible)


def _write_case(
    dataset: Path, name: str, files: Sequence[Path], method: Method, names: Mapping[int, str]
) -> dict[str, Any]:
    """Write image and label of one case; returns its entry in the report."""
    *images, label = files
    synthetic = method.translate(images)
    reference = read_volume(label).image
    require_same_grid(reference, synthetic.image, what="the label", whose="the image")
    ending = label.name.removeprefix(name)
    image_file, label_file = dataset / "imagesTr" / f"{name}_0000{ending}", dataset / "labelsTr" / label.name
    write_image(synthetic.image, image_file, staging=dataset)
    with whole_file(label_file, staging=dataset) as temporary:
        shutil.copyfile(label, temporary)
    found = plausibility(
        sitk.GetArrayViewFromImage(synthetic.image),
        sitk.GetArrayViewFromImage(reference),
        names=names,
        target=method.target,
    )
    return {
        "status": "written",
        "seconds": round(synthetic.seconds, 2),
        "tiles": synthetic.tiles,
        **found,
        "source_sha256": {file.name: checksum(file) for file in files},
        "sha256": {str(f.relative_to(dataset)): checksum(f) for f in (image_file, label_file)},
    }


def _describe(
    dataset: Path, source: Mapping[str, Any], made_by: Mapping[str, Any], written: Sequence[str]
) -> None:
    content = {
        **source,
        "name": dataset.name,
        "channel_names": {"0": CT_CHANNEL},
        "numTraining": len(written),
        KEY: list(written),
        "translation": {"warning": WARNING, **made_by},
    }
    write_text(dataset / DESCRIPTION, json.dumps(content, indent=2) + "\n")


class _Report:
    """``translation_report.json``: complete after each case, so that a run that was killed can go on."""

    def __init__(self, dataset: Path, made_by: Mapping[str, Any], source: Path) -> None:
        self._file = dataset / REPORT
        self._dataset = dataset
        plain = json.loads(json.dumps(dict(made_by)))
        self._content: dict[str, Any] = {
            "warning": WARNING,
            "made_by": plain,
            "source": source.name,
            "cases": {},
        }
        if self._file.is_file():
            earlier = json.loads(self._file.read_text(encoding="utf-8"))
            if (earlier["made_by"], earlier["source"]) != (plain, source.name):
                raise ValueError(
                    f"{dataset} was made from {earlier['source']} by another model or with other settings; "
                    "choose another --dataset-id, or remove it"
                )
            self._content["cases"] = earlier["cases"]
        elif (dataset / DESCRIPTION).exists():
            raise ValueError(f"{dataset} holds another dataset; choose another --dataset-id, or remove it")

    @property
    def written(self) -> tuple[str, ...]:
        return tuple(n for n, c in sorted(self._content["cases"].items()) if c["status"] == "written")

    @property
    def refused(self) -> dict[str, str]:
        return {n: c["reason"] for n, c in self._content["cases"].items() if c["status"] == "refused"}

    @property
    def implausible(self) -> tuple[str, ...]:
        return tuple(n for n in self.written if self._content["cases"][n]["implausible"])

    def has(self, name: str, files: Sequence[Path]) -> bool:
        """The case was written, and neither what it was made from nor what was written has changed."""
        entry = self._content["cases"].get(name)
        if entry is None or entry["status"] != "written":
            return False
        same_source = entry["source_sha256"] == {file.name: checksum(file) for file in files}
        return same_source and all(
            (self._dataset / path).is_file() and checksum(self._dataset / path) == expected
            for path, expected in entry["sha256"].items()
        )

    def add(self, name: str, entry: dict[str, Any]) -> None:
        self._content["cases"][name] = entry
        write_text(self._file, json.dumps(self._content, indent=2) + "\n")

    def refuse(self, name: str, reason: str) -> None:
        """Take a case out, with what an earlier run wrote of it."""
        for path in self._content["cases"].get(name, {}).get("sha256", {}):
            (self._dataset / path).unlink(missing_ok=True)
        self.add(name, {"status": "refused", "reason": reason})
