"""Patterns of file names with a case in them: which file of a folder is what of which case."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

CASE, PATIENT = "{case}", "{patient}"
_TOKENS = re.compile(r"\{case\}|\{patient\}|\*\*/|\*|\?|.", re.DOTALL)
_WILD = {"**/": r"(?:[^/]+/)*", "*": r"[^/]*", "?": r"[^/]"}

# For each case the files of each role.
Fitting = dict[str, dict[str, tuple[Path, ...]]]


@dataclass(frozen=True)
class Pattern:
    """A pattern of paths or names.

    Attributes:
        regex: what it means; its only group is the case or the patient.
        literal: number of characters that are no wildcard: the more, the more exact.
    """

    regex: re.Pattern[str]
    literal: int

    @classmethod
    def of(cls, text: str) -> Pattern:
        """Read a pattern.

        Args:
            text: ``*`` and ``?`` stand for anything within a name, ``**/`` for any folders, ``{case}`` or
                ``{patient}`` for as little as will do, and for the same wherever it comes again.

        Example:
            >>> Pattern.of("{case}/*/{case}_CT.nii.gz").find("p1/day 1/p1_CT.nii.gz")
            'p1'
            >>> Pattern.of("{patient}_*").find("p1_day1_b")
            'p1'
        """
        parts, literal, seen = [], 0, set()
        for token in _TOKENS.findall(text):
            if token in (CASE, PATIENT):
                name = token[1:-1]
                parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)")
                seen.add(name)
            elif token in _WILD:
                parts.append(_WILD[token])
            else:
                parts.append(re.escape(token))
                literal += 1
        return cls(re.compile("".join(parts)), literal)

    def find(self, text: str) -> str | None:
        """The case or the patient in a path, None where the pattern does not fit."""
        match = self.regex.fullmatch(text)
        return match[1] if match else None


def in_case_folders(patterns: Mapping[str, str]) -> tuple[dict[str, Pattern], bool]:
    """Patterns of roles; without ``{case}`` they are meant within the folder of each case.

    Args:
        patterns: from each role to its pattern as it was typed.

    Returns:
        Patterns with a case, and whether the folders are the cases.

    Raises:
        ValueError: some have ``{case}`` and others have not.

    Example:
        >>> patterns, folders = in_case_folders({"CT": "CT*.nii.gz"})
        >>> patterns["CT"].find("STS_002/CT_image.nii.gz"), folders
        ('STS_002', True)
    """
    flat = [role for role, text in patterns.items() if CASE in text]
    if flat and len(flat) < len(patterns):
        raise ValueError(f"expected {CASE} in every pattern or in none, got it for {', '.join(flat)} only")
    prefix = "" if flat else f"{CASE}/"
    return {role: Pattern.of(prefix + text) for role, text in patterns.items()}, not flat


def fitting(files: Iterable[Path], root: Path, patterns: Mapping[str, Pattern]) -> Fitting:
    """Which files are what of which case.

    A file that several patterns fit is what the most exact of them says: ``a_seg.nii.gz`` is the
    ``{case}_seg.nii.gz`` of a, not the ``{case}.nii.gz`` of a_seg.

    Args:
        files: below the root.
        root: what patterns start from.
        patterns: from each role to its pattern.

    Example:
        >>> patterns, _ = in_case_folders({"CT": "{case}.nii", "label": "{case}_seg.nii"})
        >>> found = fitting([Path("a.nii"), Path("a_seg.nii")], Path(), patterns)
        >>> {case: sorted(roles) for case, roles in found.items()}
        {'a': ['CT', 'label']}
    """
    found: Fitting = {}
    for file in files:
        place = file.relative_to(root).as_posix()
        fits = [(pattern.literal, role) for role, pattern in patterns.items() if pattern.find(place)]
        for literal, role in fits:
            case = patterns[role].find(place)
            if case is not None and literal == max(fits)[0]:
                roles = found.setdefault(case, {})
                roles[role] = (*roles.get(role, ()), file)
    return found
