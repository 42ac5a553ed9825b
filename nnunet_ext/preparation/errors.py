"""The one error of the room: a case that cannot be prepared, with a code that programs may act on."""

from __future__ import annotations

from nnunet_ext.clinical_io import CaseError


class PreparationError(CaseError):
    """A case, or a record of steps, that preparation refuses.

    Neither message nor code holds a path or a name of a patient: the caller knows which case it was.

    Args:
        code: short and stable, such as ``body-too-small``: what reports count and tests look for.
        reason: what was expected and what came, with numbers.
        remedy: what to do.

    Example:
        >>> error = PreparationError("not-3d", "expected an image of 3 axes, got 2", "give a volume")
        >>> error.code, str(error)
        ('not-3d', 'not-3d: expected an image of 3 axes, got 2; give a volume')
    """

    def __init__(self, code: str, reason: str, remedy: str) -> None:
        super().__init__(code, reason=reason, remedy=remedy)

    def __reduce__(self) -> tuple[object, ...]:
        return PreparationError, (self.code, self.reason, self.remedy)
