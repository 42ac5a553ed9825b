"""List our trainers, what each trains, and how modifiers compose into a trainer's name.

`--path` prints the folder that nnU-Net's variable nnUNet_extTrainer has to name.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import textwrap
from dataclasses import asdict
from pathlib import Path

from nnunet_ext.trainers.names import GRAMMAR
from nnunet_ext.trainers.registry import MODIFIERS, TRAINERS, VANILLA, hook_folder

_WIDTH = 100
_NUMBERS = "N is a whole number of 1 or more, without leading zeros."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--path", action="store_true", help="print the hook folder and nothing else")
    output.add_argument("--json", action="store_true", help="print the list as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the list, or the hook folder; returns 0."""
    if args.path:
        print(hook_folder())
        return 0
    upstream = upstream_names()
    print(_as_json(upstream) if args.json else _as_text(upstream))
    return 0


def upstream_names(trainer_folder: Path | None = None) -> tuple[str, ...]:
    """Names with a word of our modifiers that nnU-Net answers itself, before it looks at our folder.

    They are read from nnU-Net's source text: importing it would import torch.

    Args:
        trainer_folder: folder with nnU-Net's trainers; None finds the installed one.

    Returns:
        The names, sorted; empty where nnU-Net is not installed.
    """
    folder = trainer_folder or _installed_trainer_folder()
    if folder is None:
        return ()
    words = tuple(modifier.keyword.lower().rstrip("s") for modifier in MODIFIERS)
    names = {
        name
        for file in folder.rglob("*.py")
        for name in re.findall(r"^class (nnUNetTrainer\w*)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    return tuple(sorted((name for name in names if any(w in name.lower() for w in words)), key=_natural))


def _installed_trainer_folder() -> Path | None:
    # A top-level name: find_spec locates the package and runs nothing of it.
    spec = importlib.util.find_spec("nnunetv2")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "training" / "nnUNetTrainer"


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts 50epochs before 100epochs."""
    parts = re.split(r"(\d+)", name)
    return [(int(part) if part.isdigit() else -1, part) for part in parts]


def _as_json(upstream: tuple[str, ...]) -> str:
    return json.dumps(
        {
            "hook_folder": str(hook_folder()),
            "trainers": [asdict(trainer) for trainer in TRAINERS],
            "vanilla": asdict(VANILLA),
            "modifiers": [asdict(modifier) for modifier in MODIFIERS],
            "grammar": GRAMMAR,
            "upstream_names": list(upstream),
        },
        indent=2,
    )


def _as_text(upstream: tuple[str, ...]) -> str:
    lines = ["Trainers (for nnU-Net's -tr):"]
    for trainer in (*TRAINERS, VANILLA):
        lines.append(f"  {trainer.name}")
        lines.append(f"      {trainer.summary}")
        paper = f"paper {trainer.paper}, " if trainer.paper else ""
        lines.append(f"      {paper}network {trainer.network}")
        if trainer.ablations:
            lines.append(f"      ablations: {', '.join(f'_{token}' for token in trainer.ablations)}")
    lines += ["", "Modifiers, appended to a name in this order, each at most once:"]
    width = max(len(modifier.token) for modifier in MODIFIERS)
    lines += [f"  _{modifier.token:<{width}}  {modifier.summary}" for modifier in MODIFIERS]
    lines += [f"  {_NUMBERS}", "", "Spelling:", f"  {GRAMMAR}", f"  such as {_example()}", ""]
    lines += textwrap.wrap(
        "nnU-Net looks in its own package first. Where it has the name, its own class runs and not ours:",
        _WIDTH,
    )
    lines += _wrapped(", ".join(upstream) if upstream else "(nnU-Net is not installed here)")
    return "\n".join(lines)


def _example() -> str:
    return f"{TRAINERS[0].name}_50epochs_NoMirroring"


def _wrapped(text: str) -> list[str]:
    indent = "  "
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False
    )
