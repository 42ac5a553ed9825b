"""Why one case is refused, and what is told of a case that is not."""

from __future__ import annotations

from dataclasses import dataclass


class CaseError(ValueError):
    """A case that cannot be used as it is: the others go on.

    Reason and remedy never hold a path, a name or another thing that tells who the patient is: they reach
    reports and logs. The caller says which case it was.

    Args:
        code: short name of the kind of failure, stable between releases: ``"missing-slice"``.
        reason: what was expected and what came.
        remedy: what to do.
        private: what the user needs beside that and nobody else may see, such as names of structures; it goes
            into the key file of the conversion alone.

    Example:
        >>> str(CaseError("single-slice", reason="the series has 1 slice", remedy="export the whole series"))
        'single-slice: the series has 1 slice; export the whole series'
    """

    def __init__(self, code: str, *, reason: str, remedy: str, private: str = "") -> None:
        super().__init__(code, reason, remedy)
        self.code = code
        self.reason = reason
        self.remedy = remedy
        self.private = private

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}; {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        return _case_error, (self.code, self.reason, self.remedy, self.private)


def _case_error(code: str, reason: str, remedy: str, private: str) -> CaseError:
    """Workers send refusals to the process that collects them, and pickle knows no keyword arguments."""
    return CaseError(code, reason=reason, remedy=remedy, private=private)


@dataclass(frozen=True, order=True)
class Note:
    """Something that was put right in a case that is used, or that a person should know of it.

    Attributes:
        code: short name of the kind, stable between releases: ``"duplicate-slice"``.
        text: what was found and what was done; no path and nothing of the patient.
    """

    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"
