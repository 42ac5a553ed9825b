"""A page in docs/datasets for each converter, from what the converter itself says.

python -m nnunet_ext.dataset_conversion.pages CHECKOUT
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

from nnunet_ext.dataset_conversion.declaration import Converter
from nnunet_ext.dataset_conversion.dicom_cases import discover_folders
from nnunet_ext.dataset_conversion.registry import CONVERTERS, converter

from nnunet_ext.files import write_text

_PRESENCE = {
    "required": "every case has it",
    "may_be_absent": "not every patient has it: background",
    "may_be_undrawn": "was not always drawn: ignored in training where it may be",
}
# What the converters share, for the index.
_SHARED = """\
## Every dataset

- Images and label must lie on one grid: no corner more than 0.01 mm apart. All come out as LPS, each voxel
  at its place in the world. An affine that nobody set is refused (`identity-affine`).
- Values must be finite (`nan`), and those of CT Hounsfield units (`hu-offset`): not stored values, and not
  those of a picture or of what was normalized. Of the texts in a file's header nothing is kept.
- A label whose borders meet the image's edges only once it is flipped, or its axes are exchanged, is
  refused (`misplaced-label`). Where you have looked and it is right, give `--accept-misplaced`.
- A case of which undrawn structures leave under 5 % of the voxels to learn from is refused
  (`too-little-drawn`).
- `--like DATASET` writes new patients, who have no labels, into `imagesTs`, prepared as the dataset was. Any
  converter may read them that gives the dataset's channels, so that a model of a public dataset takes a
  hospital's patients: `nnunet_ext convert coronary-cta TOMORROW --like 502`. Options about labels are refused
  then, and so are other values of the dataset's own; how files are found may be said anew.
- `splits_final.json` needs five patients. With fewer, all good cases are written and the exit code is 1.

## DICOM and RTSTRUCT

What holds of a hospital's folders, in every converter that reads them. Series:

- Slices are ordered by their positions; names and InstanceNumber do not count. Slope and intercept are
  those of each slice. Enhanced multi-frame files are read; scouts, dose, reports and pictures of screens are
  passed over.
- Two equal images at one place are one (note `duplicate-slice`). Two different ones are refused
  (`duplicate-slice`), and so are missing slices (`missing-slice`), distances that differ by more than 1 %
  (`uneven-spacing`), a tilted gantry (`tilt`), and one series with several orientations, sizes or pixel
  spacings (`mixed-series`).
- Of several series of a modality the one is taken that the RTSTRUCT names. Where nothing tells, the case is
  refused (`mixed-series`), unless `--series` gives a word of the CT's description.
- A folder with images of two patients is refused (`mixed-patients`). Folders with one PatientID are one
  patient, unless `--patients folder` is given.

Contours:

- Even-odd within a slice: a curve in another is a hole, and keyholes come out right. Of equal curves one
  counts (note `duplicate-contour`). Where curves of one structure cross, neither lying in the other, the case
  is refused (`overlapping-contours`): unite them in the planning system, or say with `--overlapping-contours`
  that they are one area (`union`) or that the overlap is left out (`xor`), which is then a note. Curves that
  share no place as wide as a voxel only touch: voxels in both are left out (note `touching-contours`).
- Points and open curves are left out (note `open-contour`), and so is what lies beyond the image (notes
  `contour-outside`, `contour-clipped`). A structure of which nothing lies in the image is refused
  (`contour-outside`), as is a curve between slices or across them (`contour-plane`). One that was drawn on
  every second or third slice alone is refused (`skipped-slices`): the slices between would be background.
- The color of a structure is recorded in `dataset.json` where all cases agree: `export` takes it again.
- A structure that is listed and was never drawn is refused where every case must have it (`empty-roi`).
- An RTSTRUCT in another frame of reference is refused (`broken-reference`). In the same frame it is placed
  by its coordinates, even where it names other images (note `broken-reference`).
- Names are looked up in a table: TG-263, and common English and Chinese ones. Case, blanks and punctuation
  do not count, but for a sign between two structures: `Liver-GTV` is the liver without it, `Eye - Lens` no
  lens. Left and right are the patient's. Where a structure is not found and there are names that nobody
  knows, the case is refused (`unknown-name`), unless the structure is one that was not always drawn; else
  they are counted (note `unknown-name`). The key file lists them, for `--aliases`. A structure beside others
  of its name with a number, GTV and GTV2, is refused (`ambiguous-name`).
"""


def page(name: str) -> str:
    """The page of one converter, in Markdown.

    Example:
        >>> page("liver-target").splitlines()[0]
        '# liver-target'
    """
    found = converter(name)
    module = importlib.import_module(f"nnunet_ext.dataset_conversion.{CONVERTERS[name][0]}")
    text = inspect.cleandoc(module.__doc__ or "").replace("``", "`")
    return "\n".join([f"# {name}", "", text, "", *_tables(found), ""])


def index() -> str:
    """The list of all pages, in Markdown.

    Example:
        >>> "[liver-target](liver-target.md)" in index()
        True
    """
    lines = [
        "# Datasets",
        "",
        "What `nnunet_ext convert NAME` reads; pages are written from the converters.",
        "",
    ]
    lines += [f"- [{name}]({name}.md): {summary}" for name, (_, summary) in CONVERTERS.items()]
    return "\n".join([*lines, "", _SHARED])


def _tables(found: Converter) -> list[str]:
    lines = [f"Channels: {', '.join(found.channels) or 'as the options say'}."]
    numbers = found.numbers()
    if found.labels:
        lines += ["", "| number | label | in a case |", "|---|---|---|"]
    lines += [f"| {numbers[one.name]} | {one.name} | {_PRESENCE[one.presence]} |" for one in found.labels]
    if found.pairs:
        pairs = ", ".join(f"{left} and {right}" for left, right in found.pairs)
        lines += ["", f"Left and right are kept apart in training: {pairs}."]
    elif found.is_chiral:
        lines += ["", "Left and right are kept apart in training: the anatomy has a left and a right."]
    own = [(option.flag, option.arguments.get("help", "")) for option in found.options]
    if own:
        lines += ["", "| option | |", "|---|---|", *(f"| `{flag}` | {text} |" for flag, text in own)]
    if found.preparation is not None:
        steps = ", ".join(f"`{step.name}`" for step in found.preparation.steps)
        lines += ["", f"Prepared as it is converted: {steps} (`preparation.json`)."]
    if found.discover is discover_folders:
        lines += ["", "How DICOM and RTSTRUCT are read: [all datasets](README.md#dicom-and-rtstruct)."]
    if found.reference:
        lines += ["", f"Reference: {found.reference}."]
    if found.license:
        lines += ["", f"License of the data: {found.license}."]
    return lines


def pages() -> dict[str, str]:
    """All pages by their file names."""
    return {"README.md": index()} | {f"{name}.md": page(name) for name in CONVERTERS}


def main() -> None:
    """Write all pages below the checkout that is named."""
    for name, text in pages().items():
        write_text(Path(sys.argv[1]) / "docs" / "datasets" / name, text)


if __name__ == "__main__":
    main()
