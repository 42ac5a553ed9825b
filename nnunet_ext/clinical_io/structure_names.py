"""Names of structures: from what planning systems call them to one spelling, by a table and never by a guess.

The one spelling is that of AAPM TG-263 (2018): ``Eye_L``, ``OpticNrv_R``. Left and right are the patient's.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

LEFT = ("l", "lt", "left", "左", "左侧")
RIGHT = ("r", "rt", "right", "右", "右侧")

# What hospitals write beside the TG-263 name. Numbered targets but the first are targets of their own.
_SINGLE: Mapping[str, tuple[str, ...]] = {
    "GTV": (
        "gtv1",
        "gtvp",
        "gtv primary",
        "gtv liver",
        "liver gtv",
        "肿瘤",
        "肿瘤靶区",
        "大体肿瘤",
        "肝肿瘤",
    ),
    "Liver": ("hepar", "肝", "肝脏"),
    "Brain": ("全脑", "脑"),
    "Brainstem": ("brain stem", "脑干"),
    "OpticChiasm": ("chiasm", "chiasma", "optic chiasma", "optical chiasm", "视交叉"),
    "Pituitary": ("hypophysis", "pituitary gland", "垂体"),
    "SpinalCord": ("spinal cord", "cord", "myelon", "脊髓"),
    "Bone_Mandible": ("mandible", "mandibula", "下颌骨"),
    # RCA and LCA are carotid arteries as often.
    "A_Coronary": (
        "coronary",
        "coronaries",
        "coronary artery",
        "coronary arteries",
        "coronary tree",
        "冠脉",
        "冠状动脉",
    ),
    "A_LAD": ("lad", "left anterior descending", "left anterior descending artery", "前降支", "左前降支"),
    "A_Cflx": ("lcx", "circumflex", "left circumflex", "left circumflex artery", "回旋支", "左回旋支"),
}
_PAIRED: Mapping[str, tuple[str, ...]] = {
    "Eye": ("eyeball", "eye ball", "globe", "bulbus", "眼", "眼球"),
    "Lens": ("eye lens", "晶体", "晶状体"),
    "OpticNrv": ("optic nerve", "optical nerve", "opt nerve", "on", "n opticus", "视神经"),
    "A_Coronary": ("coronary", "coronary artery", "冠脉", "冠状动脉"),
    "Parotid": ("parotid gland", "glnd parotid", "parotis", "腮腺"),
    "Glnd_Submand": ("submandibular", "submandibular gland", "颌下腺"),
    "Cochlea": ("耳蜗",),
    "Lobe_Temporal": ("temporal lobe", "temporallobe", "颞叶"),
    "Hippocampus": ("海马", "海马体"),
}
# Oculus dexter and sinister.
_SPECIAL: Mapping[str, tuple[str, ...]] = {"Eye_L": ("os",), "Eye_R": ("od",)}

# TG-263 writes what is left of an organ without another with a hyphen: Liver-GTV is no GTV, Eye-Lens no lens.
_MINUS = re.compile(r"[-\u2010-\u2015\u2212\\/~!]")
_TARGET = re.compile(r"(?:igtv|gtv|ctv|itv|ptv)")
Named = TypeVar("Named")


def normalized(name: str) -> str:
    """A name without case, width, blanks and punctuation: what the table is looked up by.

    Example:
        >>> normalized("Optic-Nerve (Lt.)"), normalized("ＧＴＶ 1")
        ('opticnervelt', 'gtv1')
    """
    return "".join(c for c in unicodedata.normalize("NFKC", name).casefold() if c.isalnum())


def _plain(name: str) -> str:
    """A name without case, width and blanks: its punctuation counts."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


# Names of organs that come in two, as they are written where nobody says which.
_WITHOUT_SIDE = frozenset(normalized(name) for base, more in _PAIRED.items() for name in (base, *more))


@dataclass(frozen=True)
class Aliases:
    """The table of names.

    Attributes:
        canonical: from a normalized name to the one spelling.
        as_written: the same for names that look like one structure without another, and that somebody gave
            all the same: they are compared with their punctuation.
    """

    canonical: Mapping[str, str]
    as_written: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> str | None:
        """The one spelling of a name, None where the table has it not.

        Example:
            >>> aliases = standard_aliases()
            >>> aliases.find("lt. optic nerve"), aliases.find("右眼"), aliases.find("PTV_boost")
            ('OpticNrv_L', 'Eye_R', None)
            >>> aliases.find("Optic-Chiasm"), aliases.find("Eye-Lens_L"), aliases.find("Liver - GTV")
            ('OpticChiasm', None, None)
        """
        if (given := self.as_written.get(_plain(name))) is not None:
            return given
        return None if self._subtracts(name) else self.canonical.get(normalized(name))

    def _subtracts(self, name: str) -> bool:
        """Whether a name says that one structure is left of another."""
        text = unicodedata.normalize("NFKC", name)
        for sign in _MINUS.finditer(text):
            whole, without = normalized(text[: sign.start()]), normalized(text[sign.end() :])
            if whole and (_TARGET.match(without) or (self._knows(whole) and self._knows(without))):
                return True
        return False

    def _knows(self, key: str) -> bool:
        return key in self.canonical or key in _WITHOUT_SIDE

    def extended(self, more: Mapping[str, Sequence[str]]) -> Aliases:
        """A table with further names.

        Args:
            more: from one spelling, old or new, to what else it is called.

        Raises:
            ValueError: a name stands for something else already.

        Example:
            >>> standard_aliases().extended({"GTV": ["Tumor re."]}).find("tumor RE")
            'GTV'
        """
        table, as_written = dict(self.canonical), dict(self.as_written)
        for canonical, names in more.items():
            for name in (canonical, *names):
                key = normalized(name)
                if not key:
                    raise ValueError(f"expected names with letters or digits, got {name!r} for {canonical}")
                among, key = (as_written, _plain(name)) if self._subtracts(name) else (table, key)
                if among.setdefault(key, canonical) != canonical:
                    raise ValueError(
                        f"{name!r} is to mean {canonical}, but means {among[key]} already; a name stands for "
                        "one structure"
                    )
        return Aliases(MappingProxyType(table), MappingProxyType(as_written))


def standard_aliases() -> Aliases:
    """TG-263 names with what hospitals call them in English and Chinese."""
    paired = {
        f"{name}_{side}": tuple(
            spelled
            for alias in (name, *more)
            for token in tokens
            for spelled in (token + alias, alias + token)
        )
        for name, more in _PAIRED.items()
        for side, tokens in (("L", LEFT), ("R", RIGHT))
    }
    table = Aliases(MappingProxyType({})).extended(_SINGLE).extended(paired)
    return table.extended(_SPECIAL)


def read_aliases(file: Path) -> Aliases:
    """The standard table with the names of a JSON file.

    Args:
        file: an object whose keys are spellings and whose values are lists of names:
            ``{"GTV": ["Tumor"], "Eye_L": ["Auge links"]}``.

    Raises:
        ValueError: the file is something else, or a name would mean two things.
        OSError: it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "names.json"
        ...     _ = file.write_text('{"Eye_L": ["Auge links"]}')
        ...     read_aliases(file).find("AUGE LINKS")
        'Eye_L'
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    is_table = isinstance(content, dict) and all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in content.values()
    )
    if not is_table:
        raise ValueError(f'expected {{"GTV": ["name", ...], ...}} in {file}, got something else')
    return standard_aliases().extended(content)


def by_canonical_name(
    items: Iterable[tuple[str, Named]], aliases: Aliases
) -> tuple[dict[str, list[Named]], tuple[str, ...]]:
    """Sort named things by the one spelling of their names.

    Args:
        items: names with what they name.
        aliases: the table.

    Returns:
        For each spelling what is called so, and the names that the table has not.

    Example:
        >>> by_canonical_name([("lens l", 1), ("L Lens", 2), ("x", 3)], standard_aliases())
        ({'Lens_L': [1, 2]}, ('x',))
    """
    known: dict[str, list[Named]] = {}
    unknown = []
    for name, item in items:
        canonical = aliases.find(name)
        if canonical is None:
            unknown.append(name)
        else:
            known.setdefault(canonical, []).append(item)
    return known, tuple(unknown)


# Every spelling of the table: what a converter may ask for.
CANONICAL = frozenset(chain(_SINGLE, (f"{name}_{side}" for name in _PAIRED for side in "LR")))
