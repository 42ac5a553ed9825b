"""A name means one structure or none, and left is the patient's left."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_ext.clinical_io.structure_names import CANONICAL, normalized, read_aliases, standard_aliases

ALIASES = standard_aliases()


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("GTV", "GTV"),
        ("gtv1", "GTV"),
        ("GTVp", "GTV"),
        ("肿瘤", "GTV"),
        ("liver_gtv", "GTV"),
        ("eye_l", "Eye_L"),
        ("左眼", "Eye_L"),
        ("lt eye", "Eye_L"),
        ("OS", "Eye_L"),
        ("OD", "Eye_R"),
        ("Lens R", "Lens_R"),
        ("右晶体", "Lens_R"),
        ("ON_L", "OpticNrv_L"),
        ("Right Optic Nerve", "OpticNrv_R"),
        ("左视神经", "OpticNrv_L"),
        ("视交叉", "OpticChiasm"),
        ("Optic Chiasm", "OpticChiasm"),
        ("chiasm", "OpticChiasm"),
        ("BrainStem", "Brainstem"),
        ("Submandibular_L", "Glnd_Submand_L"),
        ("Optic-Chiasm", "OpticChiasm"),
        ("Brain-Stem", "Brainstem"),
        ("Spinal-Cord", "SpinalCord"),
        ("L-Eye", "Eye_L"),
        ("~GTV", "GTV"),
        ("GTV-1", "GTV"),
    ],
)
def test_what_hospitals_write_is_known(name: str, canonical: str) -> None:
    assert ALIASES.find(name) == canonical


@pytest.mark.parametrize(
    "name",
    [
        "",
        "GTV2",
        "GTVn",
        "PTV",
        "Lens",
        "optic nerve",
        "eye",
        "Lensed_L",
        "Eye_AL",
        "body",
        "left",
        "L",
        "Liver-GTV",
        "Liver - GTV",
        "Liver_-_GTV",
        "Liver\u2013GTV",  # an en dash
        "Liver\u2212GTV",  # a minus sign
        "Liver-(GTV)",
        "Liver\\GTV",
        "GTV-Liver",
        "Eye-Lens_L",
        "L Eye - Lens",
        "Eye_L-OpticNrv_L",
    ],
)
def test_what_is_not_in_the_table_is_not_guessed(name: str) -> None:
    assert ALIASES.find(name) is None


def test_sides_are_never_exchanged() -> None:
    """Every name of the left has its twin of the right, which means the right."""
    exchange = {"left": "right", "lt": "rt", "左侧": "右侧", "左": "右", "os": "od", "l": "r"}
    for name, canonical in ALIASES.canonical.items():
        if not canonical.endswith("_L"):
            continue
        twins = {
            normalized(t)
            for left, right in exchange.items()
            if left in name
            for t in (name.replace(left, right, 1), right.join(name.rsplit(left, 1)))
        }
        assert canonical[:-1] + "R" in {ALIASES.find(twin) for twin in twins}, name


def test_the_table_names_every_spelling_that_a_converter_may_ask_for() -> None:
    assert all(ALIASES.find(name) == name for name in CANONICAL)
    assert set(ALIASES.canonical.values()) == CANONICAL


def test_the_user_adds_names_but_gives_none_a_second_meaning(tmp_path: Path) -> None:
    file = tmp_path / "names.json"
    file.write_text('{"GTV": ["Läsion"], "Stent": []}', encoding="utf-8")
    aliases = read_aliases(file)
    assert aliases.find("LÄSION") == "GTV"
    assert aliases.find("stent") == "Stent"
    for content, message in (
        ('{"Lens_L": ["right eye"]}', "means Eye_R already"),
        ('{"GTV": ["??"]}', "letters or digits"),
        ('{"GTV": "Tumor"}', "expected"),
        ("[1]", "expected"),
        ("GTV: Tumor", "not JSON"),
    ):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            read_aliases(file)


def test_what_is_left_of_a_structure_means_what_the_user_says_and_nothing_else() -> None:
    aliases = ALIASES.extended({"GTV": ["Liver - GTV"], "Lens_L": ["Eye-Lens_L"]})
    assert [aliases.find(name) for name in ("liver-gtv", "LIVER - GTV", "eye-lens_l")] == [
        "GTV",
        "GTV",
        "Lens_L",
    ]
    assert aliases.find("Liver-(GTV)") is None
    assert aliases.find("Liver") == "Liver"
    with pytest.raises(ValueError, match="means GTV already"):
        aliases.extended({"Liver": ["Liver-GTV"]})
