"""Every converter by name; the module of one is imported only when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_ext.dataset_conversion.declaration import Converter

# From a converter's name to its script and to one line about it, so that `--help` need not import them all.
CONVERTERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "liver-target": (
            "Dataset501_LiverTarget",
            "hospital CT with an RTSTRUCT, the GTV of the liver (paper 004)",
        ),
    }
)


def converter(name: str) -> Converter:
    """The converter of a name.

    Raises:
        ValueError: there is none.

    Example:
        >>> converter("liver-target").title
        'LiverTarget'
    """
    if name not in CONVERTERS:
        raise ValueError(f"expected one of {', '.join(CONVERTERS)}, got {name!r}")
    module = importlib.import_module(f"nnunet_ext.dataset_conversion.{CONVERTERS[name][0]}")
    found: Converter = module.CONVERTER
    return found
