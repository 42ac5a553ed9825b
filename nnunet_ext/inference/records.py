"""Where the label maps of a folder came from: no result of another model is taken for this one's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.files import checksum, write_text
from nnunet_ext.inference.cases import CaseFiles

NAME = "predictions_ext.json"


class OtherResultsError(ValueError):
    """The folder holds results of another model, other settings or an unknown program."""


@dataclass(frozen=True)
class OutputFolder:
    """A folder of predictions.

    Attributes:
        path: the folder.
        file_ending: of label maps.
        settings: what the results of this run come from, plain values as JSON keeps them.
        probabilities: a finished case has them, too.
    """

    path: Path
    file_ending: str
    settings: dict[str, Any]
    probabilities: bool

    def label_file(self, case: str) -> Path:
        """Where the label map of a case goes."""
        return self.path / f"{case}{self.file_ending}"

    def probability_file(self, case: str) -> Path:
        """Where its probabilities go; nnU-Net's ``.pkl`` lies beside them."""
        return self.path / f"{case}.npz"

    def require_apart_from(self, cases: Iterable[CaseFiles]) -> None:
        """Nothing that is read may lie where something is written, or removed from.

        Raises:
            ValueError: a case would be written over one of its files: an image without a channel's number, or
                the prediction of a previous stage, in the folder of the output.
        """
        for case in cases:
            written = {f.resolve() for f in (self.label_file(case.name), self.probability_file(case.name))}
            for file in (*case.images, *(() if case.previous_stage is None else (case.previous_stage,))):
                if file.resolve() in written:
                    raise ValueError(
                        f"{case.name} would be written over {file}: choose another folder for the output"
                    )

    def finished(self, cases: Iterable[CaseFiles]) -> set[str]:
        """Names of cases that need no work.

        Raises:
            OtherResultsError: a label map is there that does not come from these settings.
        """
        records = self._read()
        done = set()
        for case in cases:
            if not self.label_file(case.name).is_file():
                continue
            record = records.get(case.name)
            if record is None or record["settings"] != self.settings:
                raise OtherResultsError(
                    f"{self.label_file(case.name)} {_difference(record, self.settings)}: "
                    "choose another folder, or predict again with --overwrite"
                )
            has_probabilities = self.probability_file(case.name).is_file() or not self.probabilities
            if has_probabilities and record["images"] == image_checksums(case):
                done.add(case.name)
        return done

    def begin(self, case: CaseFiles) -> None:
        """Make ready for the files of a case: old ones go, its record is written.

        The record comes before the label map, so that a run that is killed between the two leaves no label
        map without a record.
        """
        self.discard(case.name)
        records = self._read()
        records[case.name] = {"settings": self.settings, "images": image_checksums(case)}
        write_text(self.path / NAME, json.dumps({"cases": records}, indent=1, sort_keys=True) + "\n")

    def discard(self, case: str) -> None:
        """Remove the files of a case, so that no old result stands for one that failed."""
        for file in (self.label_file(case), self.probability_file(case)):
            file.unlink(missing_ok=True)
        self.probability_file(case).with_suffix(".pkl").unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        file = self.path / NAME
        if not file.is_file():
            return {}
        try:
            return dict(json.loads(file.read_text(encoding="utf-8"))["cases"])
        except (ValueError, KeyError, TypeError) as error:
            raise OtherResultsError(
                f"expected the record of predictions in {file}, it cannot be read ({error}): choose another "
                "folder for the output"
            ) from error


def image_checksums(case: CaseFiles) -> dict[str, str]:
    """SHA-256 of a case's files, by name."""
    files = [*case.images, *(() if case.previous_stage is None else (case.previous_stage,))]
    return {
        ("previous stage/" if file == case.previous_stage else "") + file.name: checksum(file)
        for file in files
        if file.is_file()
    }


def _difference(record: dict[str, Any] | None, settings: dict[str, Any]) -> str:
    if record is None:
        return "is there already, and nothing says which model predicted it"
    before = record["settings"]
    names = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
    shown = [
        name
        if isinstance(settings.get(name), dict)
        else f"{name} {before.get(name)}, now {settings.get(name)}"
        for name in names
    ]
    return "was predicted with another model or other settings (" + "; ".join(shown) + ")"
