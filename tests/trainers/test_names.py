"""Spelling of trainer names."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunet_ext.trainers.names import GRAMMAR, MisspeltTrainerNameError, parse
from nnunet_ext.trainers.registry import MODIFIERS, TRAINERS, VANILLA

OURS = "nnUNetTrainerRASUNet"


@st.composite
def canonical_names(draw: st.DrawFn) -> str:
    trainer = draw(st.sampled_from((*TRAINERS, VANILLA)))
    possible = [m for m in MODIFIERS if not m.network_option or m.token in trainer.ablations]
    possible = [m for m in possible if m.token != "Paper" or trainer.paper]
    one_of_a_choice = st.lists(
        st.sampled_from(possible),
        unique_by=lambda m: m.choice or m.token,
        min_size=trainer is VANILLA,
    )
    chosen = draw(one_of_a_choice)
    chosen.sort(key=MODIFIERS.index)
    numbers = st.integers(min_value=1, max_value=10**6)
    tokens = [f"{draw(numbers) if m.takes_number else ''}{m.keyword}" for m in chosen]
    return "_".join([trainer.name, *tokens])


@given(canonical_names())
def test_what_parse_takes_apart_it_puts_together(name: str) -> None:
    parsed = parse(name)
    assert parsed is not None
    assert parsed.canonical == name


@given(canonical_names(), st.data())
def test_only_one_order_is_a_name(name: str, data: st.DataObject) -> None:
    trainer, *tokens = name.split("_")
    shuffled = "_".join([trainer, *data.draw(st.permutations(tokens))])
    if shuffled != name:
        with pytest.raises(MisspeltTrainerNameError, match=f"write {name}"):
            parse(shuffled)


def test_the_grammar_shows_choices_and_ablations() -> None:
    assert GRAMMAR == (
        "<Trainer>[_Paper][_{N}epochs][_{N}iters][_DiceFocal|_Dice][_NoX ..., in alphabetical order]"
    )


def test_nox_modifiers_are_in_alphabetical_order_after_the_others() -> None:
    tokens = [m.token for m in MODIFIERS]
    without = [t for t in tokens if t.startswith("No")]
    assert tokens == [t for t in tokens if not t.startswith("No")] + sorted(without)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        (f"{OURS}_1epoch", f"{OURS}_1epochs"),
        (f"{OURS}_005epochs", f"{OURS}_5epochs"),
        (f"{OURS}NoMirroring", f"{OURS}_NoMirroring"),
        (f"{OURS}_nomirroring", f"{OURS}_NoMirroring"),
        ("nnUNetTrainerRasUnet_5epochs", f"{OURS}_5epochs"),
        ("nnUNetTrainerRasUnet", OURS),
        (f"{OURS}_25iters_20epochs", f"{OURS}_20epochs_25iters"),
        (f"{OURS}_5epochs_paper", f"{OURS}_Paper_5epochs"),
        (f"{OURS}_NoMirroring_NoDeepSupervision", f"{OURS}_NoDeepSupervision_NoMirroring"),
        ("nnUNetTrainer_25iters_20epochs", "nnUNetTrainer_20epochs_25iters"),
        ("nnUNetTrainerNoMirroring_20epochs", "nnUNetTrainer_20epochs_NoMirroring"),
    ],
)
def test_a_misspelt_name_is_told_the_canonical_one(name: str, canonical: str) -> None:
    with pytest.raises(MisspeltTrainerNameError, match=f"write {canonical}\\."):
        parse(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"{OURS}_0epochs", "numbers start at 1"),
        ("nnUNetTrainer_0epochs", "numbers start at 1"),
        (f"{OURS}_5epochs_5epochs", "may stand in a name once"),
        (f"{OURS}_NoMirroring_NoMirroring", "may stand in a name once"),
        (f"{OURS}_Dice_DiceFocal", "more than one loss"),
        (f"{OURS}_NoAG", r"nothing for NoAG to leave out \(it can leave out NoSAM\)"),
        ("nnUNetTrainerVNet_NoSAM", r"nothing for NoSAM to leave out \(it has no such part\)"),
        ("nnUNetTrainer_NoAG", "nothing for NoAG to leave out"),
        ("nnUNetTrainer_Paper_5epochs", "nnUNetTrainer comes from no paper"),
        (f"{OURS}_Sharp", "modifier that does not exist in 'Sharp'"),
        (f"{OURS}_5epochs_NoMirorring", "modifier that does not exist in '5epochs_NoMirorring'"),
        (f"{OURS}_-5epochs", "modifier that does not exist"),
        (f"{OURS}_epochs", "modifier that does not exist"),
        (f"{OURS}_5epoch\N{LATIN SMALL LETTER LONG S}", "modifier that does not exist"),
        (f"{OURS}_\N{ARABIC-INDIC DIGIT FIVE}epochs", "modifier that does not exist"),
        (f"{OURS}_", "modifier that does not exist"),
    ],
)
def test_refused_with_the_reason_and_the_list(name: str, reason: str) -> None:
    with pytest.raises(MisspeltTrainerNameError, match=reason) as refused:
        parse(name)
    assert "<Trainer>[_Paper][_{N}epochs]" in str(refused.value)
    assert OURS in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        "nnUNetTrainer",
        "nnUNetTrainerOfAnotherTeam",
        "nnUNetTrainerRASUNetV2",
        "nnUNetTrainerRASUNetOfAnotherTeam_5epochs",
        "nnUNetTrainer_Sharp",
        "nnUNetTrainerDice",
        "nnUNetTrainerDiceFocal",
        "nnUNetTrainer_5epochs_Sharp",
        "nnUNetTrainer_",
        "SomethingElse",
        "__path__",
        "",
    ],
)
def test_what_is_not_ours_is_left_alone(name: str) -> None:
    assert parse(name) is None


def test_every_ablation_is_an_option_of_the_network_and_of_some_trainer() -> None:
    from nnunet_ext import networks

    options = {m.token: m.network_option for m in MODIFIERS if m.network_option}
    assert {token for trainer in TRAINERS for token in trainer.ablations} == set(options)
    for trainer in TRAINERS:
        known, _ = getattr(networks, trainer.network.rpartition(".")[2]).plan_keywords()
        of_cascades = {"coarse_input"} if trainer.cascade else set()
        possible = {token for token, option in options.items() if option in known | of_cascades}
        assert set(trainer.ablations) == possible
        assert list(trainer.ablations) == sorted(trainer.ablations)


def test_the_registry_is_sound_and_light() -> None:
    names = [trainer.name for trainer in TRAINERS]
    assert len(set(names)) == len(names)
    assert all(name.startswith("nnUNetTrainer") and "_" not in name for name in names)
    heavy = "{'torch', 'numpy', 'nnunetv2'}"
    code = f"import sys, nnunet_ext.trainers.names; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
