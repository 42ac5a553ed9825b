"""The one module in the folder that ``nnUNet_extTrainer`` names.

nnU-Net imports it, asks it for a class by name and then drops it from ``sys.modules``. It answers with the
classes of the installed ``nnunet_ext.trainers``, which stay where they are: they keep their true module name,
pickle, and are the same objects at the next look-up.
"""

from __future__ import annotations

import sys
from typing import Any


def __getattr__(name: str) -> Any:
    """The trainer called ``name``; AttributeError for names that are not ours."""
    if not name.lower().startswith("nnunettrainer"):
        raise AttributeError(name)
    try:
        from nnunet_ext import trainers
    except ImportError as error:
        # Another package called nnunet_ext in front of ours must not end the search for other trainers.
        print(f"nnunet_ext's trainers cannot be imported ({error}); run `nnunet_ext doctor`", file=sys.stderr)
        raise AttributeError(name) from error
    return getattr(trainers, name)
