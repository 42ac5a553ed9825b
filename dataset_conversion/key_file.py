"""The key file: which case of a dataset is which patient. It never lies in the dataset.

Names of cases, the salt of the hashes and what may tell who somebody is stand here and nowhere else; only its
owner may read it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_ext.dataset_conversion.declaration import SourceCase

from nnunet_ext.files import whole_file

VERSION = 1


def default_key_file(dataset: str) -> Path:
    """Where the key of the dataset of a name lies unless the user says otherwise."""
    return Path.home() / ".nnunet_ext" / "keys" / f"{dataset}.json"


@dataclass
class KeyFile:
    """The key of one dataset.

    Attributes:
        file: where it lies.
        salt: of every hash, hexadecimal.
        cases: from a case's name to its source, its patient's hash and what only the owner may know.
    """

    file: Path
    salt: str
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, file: Path, *, dataset: Path) -> KeyFile:
        """Read the key, or begin a new one for a dataset that is not there yet.

        Raises:
            ValueError: the file is something else, lies in the dataset, or is missing though the dataset
                has cases.
            OSError: it cannot be read.
        """
        if file.resolve().is_relative_to(dataset.resolve()):
            raise ValueError(f"the key must not lie in the dataset that is handed on; got {file}")
        if not file.exists():
            if any((dataset / folder).is_dir() for folder in ("imagesTr", "imagesTs")):
                raise ValueError(
                    f"{dataset} has cases, and their key {file} is missing: nobody knows which patients they "
                    "are. Give it with --key, or remove the dataset and convert anew"
                )
            return cls(file, secrets.token_hex(16))
        key, known = cls._read(file)
        if known != dataset.name:
            raise ValueError(f"expected the key of {dataset.name} in {file}, got that of {known}")
        return key

    @classmethod
    def read(cls, file: Path) -> KeyFile:
        """Read the key of a dataset that need not be here.

        Raises:
            ValueError: the file is something else.
            OSError: it cannot be read.
        """
        return cls._read(file)[0]

    @classmethod
    def _read(cls, file: Path) -> tuple[KeyFile, str]:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise ValueError(f"expected a key of version {VERSION} in {file}, got something else")
        return cls(file, content["salt"], content["cases"]), content["dataset"]

    def save(self, *, dataset: Path) -> None:
        """Write it, for its owner alone."""
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = {"version": VERSION, "dataset": dataset.name, "salt": self.salt, "cases": self.cases}
        with whole_file(self.file) as temporary:
            descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump(content, stream, indent=2, ensure_ascii=False)

    def name_cases(self, found: Sequence[SourceCase], *, title: str) -> dict[str, SourceCase]:
        """A name for every case: its public one, else a number that it keeps for good.

        Raises:
            ValueError: two cases have one public name.
        """
        by_source = {entry["source"]: name for name, entry in self.cases.items()}
        named: dict[str, SourceCase] = {}
        number = 0
        for case in found:
            name = by_source.get(case.source) or case.public_name
            while not name:
                number += 1
                candidate = f"{title}_{number:03d}"
                if candidate not in self.cases:
                    name = candidate
            if name in named:
                raise ValueError(f"expected one case called {name}, got two; leave one of them out")
            named[name] = case
            self.cases.setdefault(name, {})["source"] = case.source
        return named

    def hashed(self, text: str) -> str:
        """Salted hash, without which nobody can try names one after the other.

        Example:
            >>> key = KeyFile(Path(), salt="00")
            >>> key.hashed("a") == key.hashed("a"), key.hashed("a") == KeyFile(Path(), salt="01").hashed("a")
            (True, False)
        """
        return hmac.new(bytes.fromhex(self.salt), text.encode(), hashlib.sha256).hexdigest()[:32]
