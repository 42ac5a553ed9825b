"""Checks of what a fresh process found: packages and look-ups."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from nnunet_ext.cli.checks import Check, command, other_teams_folders
from nnunet_ext.cli.fresh_process import FreshProcess, LookUp
from nnunet_ext.cli.hook_variable import replace_line
from nnunet_ext.trainers.registry import hook_folder

# The releases that setup.cfg asks for, and why, stand there.
_OLDEST_NNUNET, _FIRST_UNKNOWN_NNUNET = (2, 8), (3, 0)
_INSTALL_NNUNET = 'install "nnunetv2>=2.8,<3"'
_TORCHVISION_REMEDY = (
    "Install the torchvision that was built for this torch, both from the same place, for example:"
    + command("pip install --force-reinstall torch torchvision")
)


def check_nnunet(fresh: FreshProcess) -> Check:
    """Is there an nnU-Net, of a release that we work with?"""
    name, package = "nnunetv2", fresh.nnunetv2
    remedy = f"Type:{command(_pip(fresh, _INSTALL_NNUNET))}"
    if package.error:
        return Check(name, "failure", f"nnU-Net does not import: {package.error}.", remedy)
    match = re.match(r"(\d+)\.(\d+)", package.version)
    if match is None:
        found = f"{package.file} is of an unknown version; nnU-Net 2.8 or a later 2.x is expected."
        return Check(name, "warning", found, remedy)
    release = (int(match[1]), int(match[2]))
    if release < _OLDEST_NNUNET:
        found = f"{package.version} is too old: 2.8 is the first release that reads nnUNet_extTrainer."
        return Check(name, "failure", found, remedy)
    if release >= _FIRST_UNKNOWN_NNUNET:
        found = f"{package.version} is newer than this nnunet_ext knows (below 3)."
        return Check(name, "failure", found, f"Update nnunet_ext, or go back. {remedy}")
    return Check(name, "ok", f"{package.version} in {Path(package.file).parent}")


def check_package_name(fresh: FreshProcess) -> tuple[Check, ...]:
    """Does ``import nnunet_ext`` give our package, and does another one lie in wait?

    Returns:
        One check of the import, and one of each other package or distribution of that name.
    """
    ours = hook_folder().parent
    name, imported = "package nnunet_ext", fresh.nnunet_ext
    advice = "Give the two their own Python environments, or remove it: "
    lifelong = "Lifelong-nnUNet ships a package of that name."
    checks = [Check(name, "ok", f"{imported.version or 'not installed by pip,'} in {ours}")]
    if imported.error or not imported.file or Path(imported.file).resolve().parent != ours:
        came = imported.error or f"a foreign package, {imported.file or 'a folder without __init__.py'}"
        found = f"`import nnunet_ext` was expected to give {ours} and gives {came}. {lifelong}"
        remedy = f"{advice}take its folder out of PYTHONPATH, or pip uninstall it."
        checks = [Check(name, "failure", found, remedy)]
    elif fresh.trainers.error:
        found = f"{ours} is ours, but its trainers do not import: {fresh.trainers.error}."
        reinstall = _pip(fresh, "install --force-reinstall nnunet-ext")
        remedy = f"Reinstall it, with what it depends on:{command(reinstall)}"
        checks = [Check(name, "failure", found, remedy)]
    for file in fresh.nnunet_ext_candidates:
        if file.resolve().parent != ours and str(file) != imported.file:
            found = f"{file} is another package called nnunet_ext on the search path. {lifelong}"
            checks.append(Check(name, "warning", found, f"{advice}it comes first when that order changes."))
    for distribution, folder in fresh.nnunet_ext_distributions:
        if re.sub(r"[-_.]+", "-", distribution).lower() == "nnunet-ext":
            continue
        mixed = folder.resolve() == ours
        where = "in the same folder as ours, their files mixed" if mixed else f"in {folder}"
        found = (
            f"The installed distribution {distribution} brings a package nnunet_ext too, {where}. {lifelong}"
        )
        again = "; then reinstall nnunet-ext" if mixed else ""
        remedy = f"{advice[:-2]}{again}:{command(_pip(fresh, f'uninstall {distribution}'))}"
        checks.append(Check(name, "failure" if mixed else "warning", found, remedy))
    return tuple(checks)


def check_torchvision(fresh: FreshProcess) -> Check:
    """Does torchvision fit torch? nnU-Net's look-up imports it on its way to our folder."""
    torch, vision = fresh.torch, fresh.torchvision
    if torch.error:
        found = f"torch does not import: {torch.error}."
        return Check("torch", "failure", found, "Reinstall torch as pytorch.org says for your system.")
    if not vision.error:
        return Check("torch, torchvision", "ok", f"torch {torch.version}, torchvision {vision.version}")
    found = (
        f"torchvision {vision.version or '(not installed)'} does not import with torch {torch.version}: "
        f"{vision.error}. nnU-Net imports it when it looks for trainers other than nnUNetTrainer."
    )
    stops = any(look_up.error for look_up in fresh.look_ups)
    return Check("torch, torchvision", "failure" if stops else "warning", found, _TORCHVISION_REMEDY)


def check_look_up(look_up: LookUp, *, environment: Mapping[str, str], torchvision_works: bool) -> Check:
    """Did nnU-Net find this trainer, and is it ours?

    Args:
        look_up: the look-up.
        environment: the environment variables that it ran with.
        torchvision_works: False where importing torchvision failed in the same process.

    Returns:
        The check, with the cause where the trainer was not found or is not usable.
    """
    name = f"look-up of {look_up.name}"
    if look_up.error:
        found, remedy = _cause(look_up, environment=environment, torchvision_works=torchvision_works)
        return Check(name, "failure", found, remedy)
    line = replace_line(other_teams_folders(environment))
    ours_first = f"Let the variable name our hook folder, and name it first:{command(line)}"
    if look_up.module != "nnunet_ext.trainers" and not look_up.module.startswith("nnunet_ext.trainers."):
        where = f"{look_up.module} ({look_up.file or 'no file'})"
        found = f"nnU-Net takes a class of that name from {where}, not ours."
        return Check(name, "failure", found, ours_first)
    if look_up.pickle_error:
        found = f"The class does not pickle, so worker processes cannot get it: {look_up.pickle_error}."
        return Check(name, "failure", found, ours_first)
    if not look_up.same_object:
        found = "A second look-up gives another class: our package was imported twice."
        return Check(name, "failure", found, ours_first)
    return Check(name, "ok", f"found in {look_up.module}")


def _cause(look_up: LookUp, *, environment: Mapping[str, str], torchvision_works: bool) -> tuple[str, str]:
    """What stopped a look-up, and what to do."""
    error = look_up.error
    if not torchvision_works and ("torchvision" in error or _passed(look_up, "torchvision")):
        return f"torchvision stops nnU-Net's look-up: {error}", _TORCHVISION_REMEDY
    others = other_teams_folders(environment)
    for file in reversed(look_up.error_files):
        for entry in others:
            if Path(entry).resolve() in Path(file).resolve().parents:
                found = f"{file}, which is not ours, breaks nnU-Net's search in nnUNet_extTrainer: {error}"
                remedy = (
                    f"Tell those who maintain {entry}, or leave that folder out. Ours in front of it are "
                    f"found all the same:{command(replace_line(others))}"
                )
                return found, remedy
    if "Could not find requested nnunet trainer" in error:
        return "nnU-Net does not find it.", "See the checks of nnUNet_extTrainer and of package nnunet_ext."
    if "No module named 'nnunetv2" in error:
        return f"nnU-Net is missing or too old: {error}", "See the check of nnunetv2."
    last = f" in {look_up.error_files[-1]}" if look_up.error_files else ""
    remedy = "See the check of nnUNet_extTrainer and the others; where all are ok, report this message."
    return f"The look-up fails{last}: {error}", remedy


def _passed(look_up: LookUp, package: str) -> bool:
    return any(package in Path(file).parts for file in look_up.error_files)


def _pip(fresh: FreshProcess, arguments: str) -> str:
    return f"{fresh.executable} -m pip {arguments}"
