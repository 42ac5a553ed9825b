"""Every converter by name; the module of one is imported only when it is asked for."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_ext.dataset_conversion.declaration import Converter

# How the paragraph of a script begins that says how the files must lie.
LAYOUT = ("Layout", "The folder holds")
# From a converter's name to its script and to one line about it, so that `--help` need not import them all.
CONVERTERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "liver-target": (
            "Dataset501_LiverTarget",
            "hospital CT with an RTSTRUCT, the GTV of the liver (paper 004)",
        ),
        "imagecas": ("Dataset502_ImageCAS", "ImageCAS: coronary arteries in CT angiography (paper 000)"),
        "asoca": ("Dataset503_ASOCA", "ASOCA: coronary arteries in CT angiography (paper 000)"),
        "mmwhs-ct": ("Dataset504_MMWHS_CT", "MM-WHS 2017, CT: seven structures of the heart (paper 001)"),
        "mmwhs-mr": ("Dataset505_MMWHS_MR", "MM-WHS 2017, MR: seven structures of the heart (paper 001)"),
        "pddca": ("Dataset506_PDDCA", "PDDCA 1.4.1: organs at risk of head and neck in CT (paper 003)"),
        "hanseg": (
            "Dataset507_HaNSeg",
            "HaN-Seg: organs at risk of head and neck in CT, with MR (paper 003)",
        ),
        "lits": ("Dataset508_LiTS", "LiTS 2017: liver and liver tumor in CT (paper 004)"),
        "msd-liver": (
            "Dataset509_MSDLiver",
            "Task03 of the Medical Segmentation Decathlon: liver and liver tumor in CT (paper 004)",
        ),
        "synthrad-ct": (
            "Dataset510_SynthRAD_CT",
            "SynthRAD 2023 and 2025, Task 1: the CT of pairs of CT and MR (paper 001)",
        ),
        "synthrad-mr": (
            "Dataset511_SynthRAD_MR",
            "SynthRAD 2023 and 2025, Task 1: the MR of pairs of CT and MR (paper 001)",
        ),
        "lower-limb": (
            "Dataset513_LowerLimb",
            "hospital CT with one PNG mask a slice, the bones of the lower limb (paper 002)",
        ),
        "brain-oar": (
            "Dataset514_BrainOAR",
            "hospital CT, T1w and T2w with an RTSTRUCT, organs of the optic pathway (paper 003)",
        ),
        "coronary-cta": (
            "Dataset515_CoronaryCTA",
            "hospital CT angiography with a label volume or an RTSTRUCT, the coronary arteries (paper 000)",
        ),
        "volumes": (
            "Dataset512_Volumes",
            "any NIfTI, NRRD or MetaImage volumes with a label file, by patterns of their names",
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
    found: Converter = _script(name).CONVERTER
    return found


def layout_of(name: str) -> str:
    """What a converter looks for, in the words of its page, and where that page is; "" for none of these.

    Example:
        >>> print(layout_of("lits"))
        <BLANKLINE>
        Layout, in any depth: volume-0.nii to 130 with segmentation-0.nii, in one folder or two, and
        test-volume-0.nii to 69, which go to imagesTs. Cases are called LiTS_000 and LiTS_test_000.
        See docs/datasets/lits.md in the repository.
    """
    if name not in CONVERTERS:
        return ""
    paragraphs = inspect.cleandoc(_script(name).__doc__ or "").replace("``", "").split("\n\n")
    words = next((text for text in paragraphs if text.startswith(LAYOUT)), "")
    return f"\n{words}\nSee docs/datasets/{name}.md in the repository."


def _script(name: str) -> ModuleType:
    return importlib.import_module(f"nnunet_ext.dataset_conversion.{CONVERTERS[name][0]}")
