"""`nnunet_ext trainers`: what it lists is what the registry and nnU-Net have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nnunet_ext.trainers.names import GRAMMAR, parse
from nnunet_ext.trainers.registry import MODIFIERS, TRAINERS, VANILLA, hook_folder

from nnunet_ext.cli.main import main
from nnunet_ext.cli.trainers import upstream_names


def test_path_is_the_hook_folder_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trainers", "--path"]) == 0
    shown = capsys.readouterr().out
    assert shown == f"{hook_folder()}\n"
    assert [file.name for file in Path(shown.strip()).glob("*.py")] == ["nnunet_ext_hook.py"]


def test_text_names_every_trainer_modifier_and_the_spelling(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trainers"]) == 0
    shown = capsys.readouterr().out
    for trainer in (*TRAINERS, VANILLA):
        for value in (trainer.name, trainer.network, trainer.summary, trainer.paper):
            assert value in shown
    for modifier in MODIFIERS:
        assert f"_{modifier.token}" in shown
        assert modifier.summary in shown
    assert GRAMMAR in shown
    assert max(len(line) for line in shown.splitlines()) <= 110


def test_the_example_is_spelled_as_the_grammar_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    main(["trainers"])
    example = capsys.readouterr().out.split("such as ")[1].split()[0]
    parsed = parse(example)
    assert parsed is not None
    assert len(parsed.modifiers) == 2


def test_json_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trainers", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [trainer["name"] for trainer in listed["trainers"]] == [trainer.name for trainer in TRAINERS]
    assert [modifier["token"] for modifier in listed["modifiers"]] == [
        modifier.token for modifier in MODIFIERS
    ]
    assert listed["hook_folder"] == str(hook_folder())
    assert listed["grammar"] == GRAMMAR
    assert listed["upstream_names"] == list(upstream_names())


def test_upstream_names_of_the_installed_nnunet() -> None:
    names = upstream_names()
    assert {"nnUNetTrainer_1epoch", "nnUNetTrainer_50epochs", "nnUNetTrainerNoMirroring"} <= set(names)
    assert names.index("nnUNetTrainer_50epochs") < names.index("nnUNetTrainer_100epochs")
    assert "nnUNetTrainerBN" not in names  # has no word of our modifiers


def test_upstream_names_are_read_from_source_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "variants").mkdir()
    (tmp_path / "variants" / "some.py").write_text(
        "raise RuntimeError('must not be imported')\n"
        "class nnUNetTrainer_3epochs(nnUNetTrainer):\n    pass\n"
        "    class nnUNetTrainer_4epochs: pass\n"
        "class nnUNetTrainerOther(nnUNetTrainer): pass\n"
    )
    assert upstream_names(tmp_path) == ("nnUNetTrainer_3epochs",)


def test_without_nnunet_there_are_no_upstream_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert upstream_names() == ()
    assert main(["trainers"]) == 0
    assert "nnU-Net is not installed here" in capsys.readouterr().out
