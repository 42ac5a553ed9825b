"""Organs at risk of head and neck in CT, with a T1-weighted MR: HaN-Seg, 42 patients (paper 003).

    nnunet_ext convert hanseg FOLDER --dataset-id 507
    nnunet_ext convert hanseg FOLDER --dataset-id 507 --organs all --resample-masks

Where to get it: https://zenodo.org/records/7442914. License: see that page (CC BY-NC-ND as far as we know,
not verified).

Layout, in any depth: ``set_1/case_01/case_01_IMG_CT.nrrd``, ``case_01_IMG_MR_T1.nrrd`` and
``case_01_OAR_<name>.seg.nrrd`` for up to 30 organs, drawn on the CT.

Quirks and what is done about them:

- ``Eye_AL`` and ``Eye_PL`` are the front and the back part of the left eyeball. Their union is ``Eye_L``; one
  of them alone is no eye. There is no lens in this dataset, and nothing is called one.
- Not every organ was drawn in every patient (case_19 has no chiasm): where it may be, the case is ignored in
  training and never called background. Both eyes are required, since that place is measured from them; a case
  without one is refused (``empty-label``).
- A mask may have three axes or four, and another extent than the CT. Where its voxels are voxels of the CT it
  is pasted; where they are not, the case is refused (``label-grid``), or, with ``--resample-masks``, the
  nearest voxels are taken (note ``resampled-mask``).
- The MR is not registered to the CT and covers less. By default it is left out. ``--channels ct-t1`` takes it
  as the second channel; ``nnunet_ext prepare --example mr-on-ct`` prints the ``--preparation`` for it.
- Organs overlap by some voxels, which the later in the list of labels gets (note ``overlap``). Small organs
  stand behind large ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_ext.dataset_conversion.command import main
from nnunet_ext.dataset_conversion.declaration import (
    Converter,
    Label,
    Option,
    Options,
    ReadCase,
    SourceCase,
)
from nnunet_ext.dataset_conversion.organ_masks import read_organs
from nnunet_ext.dataset_conversion.volume_cases import file_of, files_below, read_image

from nnunet_ext.clinical_io import CaseError, Note, read_volume
from nnunet_ext.laterality import pairs_by_name

EYES = {"Eye_L": ("Eye_AL", "Eye_PL"), "Eye_R": ("Eye_AR", "Eye_PR")}
OPTIC = ("Eye_L", "Eye_R", "OpticNrv_L", "OpticNrv_R", "OpticChiasm")
# Large before small: where two overlap, the later has the voxels.
ALL = (
    *("Cavity_Oral", "Bone_Mandible", "SpinalCord", "Brainstem", "Parotid_L", "Parotid_R"),
    *("Larynx_SG", "Glottis", "Esophagus_S", "Cricopharyngeus", "Arytenoid", "Lips", "BuccalMucosa"),
    *("Glnd_Thyroid", "Glnd_Submand_L", "Glnd_Submand_R", "A_Carotid_L", "A_Carotid_R", "Eye_L", "Eye_R"),
    *("Glnd_Lacrimal_L", "Glnd_Lacrimal_R", "OpticNrv_L", "OpticNrv_R", "OpticChiasm", "Pituitary"),
    *("Cochlea_L", "Cochlea_R"),
)
_FILE = re.compile(r"(case_\d+)_(?:IMG_(?P<image>CT|MR_T1)\.nrrd|OAR_(?P<organ>\w+)\.seg\.nrrd)")

ORGANS = Option(
    "--organs",
    {
        "choices": ("optic", "all"),
        "default": "optic",
        "help": "eyes, optic nerves and chiasm, or all (optic)",
    },
)
CHANNELS = Option(
    "--channels",
    {
        "choices": ("ct", "ct-t1"),
        "default": "ct",
        "help": "the CT alone, or with a T1-weighted MR that was registered to it (ct)",
    },
)
RESAMPLE = Option(
    "--resample-masks",
    {"action": "store_true", "help": "take masks with other voxels than the CT's, by the nearest voxel"},
    is_for_training=True,
)


def configure(converter: Converter, options: Options) -> Converter:
    """The converter for the channels and organs that were asked for."""
    labels = _labels(options)
    return replace(
        converter,
        channels=("CT", "T1w") if _takes_mr(options) else ("CT",),
        labels=labels,
        pairs=pairs_by_name(label.name for label in labels),
    )


def discover(source: Path, options: Options) -> Sequence[SourceCase]:
    """Every case with the files that the options ask for.

    Raises:
        ValueError: there is no such folder.
    """
    organs = {part for label in _labels(options) for part in _parts(label.name)}
    images = {"CT", "MR_T1"} if _takes_mr(options) else {"CT"}
    cases: dict[str, list[Path]] = {}
    for file in files_below(source):
        match = _FILE.fullmatch(file.name)
        if match and (match["image"] in images or match["organ"] in organs):
            cases.setdefault(match[1], []).append(file)
    return [
        SourceCase(source=name, folder=files[0].parent, files=tuple(files), public_name=name)
        for name, files in sorted(cases.items())
    ]


def read(case: SourceCase, options: Options) -> ReadCase:
    """CT, MR where it is asked for, and organs of one patient; of a new one the images alone."""
    found = read_image(case, "*_IMG_CT.nrrd", channel="CT")
    if _takes_mr(options):
        found = _with_mr(found, case)
    labels = _labels(options)
    files = _organ_files(case, labels) if case.is_training else {}
    if not files:
        return found
    organs = read_organs(files, labels, found.channels[0], resample=options[RESAMPLE.name])
    return replace(found, label=organs.label, undrawn=organs.undrawn, notes=(*found.notes, *organs.notes))


def _organ_files(case: SourceCase, labels: Sequence[Label]) -> dict[str, tuple[Path, ...]]:
    """The files of each organ that was drawn.

    Raises:
        CaseError: ``empty-label`` where there is half an eye.
    """
    files: dict[str, tuple[Path, ...]] = {}
    for label in labels:
        parts = [file_of(case, f"*_OAR_{part}.seg.nrrd") for part in _parts(label.name)]
        there = tuple(file for file in parts if file is not None)
        if len(there) == len(parts):
            files[label.name] = there
        elif there:
            raise CaseError(
                "empty-label",
                reason=f"{label.name}: one of its two parts, {' and '.join(_parts(label.name))}, has no file",
                remedy="add it, or leave the case out",
            )
    return files


def _with_mr(found: ReadCase, case: SourceCase) -> ReadCase:
    file = file_of(case, "*_IMG_MR_T1.nrrd")
    if file is None:
        return found  # the checks name the channel that is missing
    mr = read_volume(file)
    notes = [Note(note.code, f"T1w: {note.text}") for note in mr.notes]
    return replace(found, channels=(*found.channels, mr.image), notes=(*found.notes, *notes))


def _labels(options: Options) -> tuple[Label, ...]:
    names = ALL if options[ORGANS.name] == "all" else OPTIC
    return tuple(Label(name, "required" if name in EYES else "may_be_undrawn") for name in names)


def _parts(name: str) -> tuple[str, ...]:
    return EYES.get(name, (name,))


def _takes_mr(options: Options) -> bool:
    return bool(options[CHANNELS.name] == "ct-t1")


_DEFAULT = _labels({ORGANS.name: "optic"})
CONVERTER = Converter(
    name="hanseg",
    title="HaNSeg",
    summary="HaN-Seg: organs at risk of head and neck in CT, with MR (paper 003)",
    channels=("CT",),
    labels=_DEFAULT,
    discover=discover,
    read=read,
    pairs=pairs_by_name(label.name for label in _DEFAULT),
    options=(ORGANS, CHANNELS, RESAMPLE),
    configure=configure,
    reference="Podobnik et al., HaN-Seg; https://zenodo.org/records/7442914",
)

if __name__ == "__main__":
    main("hanseg")
