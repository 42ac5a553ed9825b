"""The page of a benchmark says what its files say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nnunet_ext.cli.main import main
from nnunet_ext.evaluation.benchmark.matrix import Arm
from nnunet_ext.evaluation.benchmark.places import Places
from nnunet_ext.evaluation.benchmark.scores import Scored, score
from nnunet_ext.evaluation.cases import read_dataset_json
from nnunet_ext.evaluation.report import benchmark_tables as tables
from nnunet_ext.evaluation.report.benchmark_page import benchmark_page
from nnunet_ext.evaluation.report.benchmark_tables import Trained, read_records
from nnunet_ext.evaluation.report.page import Page, Picture, Plot, Table, Text
from nnunet_ext.evaluation.report.published import PAPERS
from nnunet_ext.evaluation.structures import label_table

NAMES = ["nnUNetTrainer", "nnUNetTrainer (ResEncUNetM)", "nnUNetTrainerRASUNet", "nnUNetTrainerVNet"]


@pytest.fixture(scope="module")
def scored(benchmark_home: tuple[Path, Places]) -> Scored:
    folder, places = benchmark_home
    return score(places, preprocessed=folder / "preprocessed")


@pytest.fixture(scope="module")
def page(benchmark_home: tuple[Path, Places], scored: Scored) -> Page:
    folder, places = benchmark_home
    dataset = folder / "preprocessed" / places.matrix.dataset
    return benchmark_page(
        places,
        scored,
        labels=label_table(read_dataset_json(dataset / "dataset.json")),
        references=dataset / "gt_segmentations",
        images=folder / "raw" / places.matrix.dataset / "imagesTr",
        file_ending=".nii.gz",
    )


def parts(page: Page, title: str) -> list[object]:
    return next(list(section.parts) for section in page.sections if section.title == title)


def test_the_verdicts_come_first_and_are_right(page: Page) -> None:
    assert page.sections[0].title == "Is the difference real?"
    first = parts(page, "Is the difference real?")[0]
    assert isinstance(first, Text)
    of_liver = {s.split(": ")[0]: s.split(": ")[1].split(" (")[0] for s in first.sentences if "liver" in s}
    assert of_liver == {
        f"Dice of liver, {trainer} against {vanilla}": verdict
        for trainer, verdict in (("nnUNetTrainerRASUNet", "better"), ("nnUNetTrainerVNet", "worse"))
        for vanilla in NAMES[:2]
    }
    assert "of 8 comparisons 2 say better than vanilla, 2 worse, 4 cannot tell" in page.lead[1]


def test_scores_are_those_of_the_files(page: Page, scored: Scored) -> None:
    table = parts(page, "Scores")[0]
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == NAMES
    liver = next(t for t in scored.tables if (t.metric, t.structure) == ("Dice", "liver"))
    for row, (_, values) in zip(table.rows, liver.scores.items(), strict=True):
        assert row[1] == pytest.approx(values.mean())


def test_costs_are_those_of_the_records(page: Page) -> None:
    table = parts(page, "What it costs")[-1]
    assert isinstance(table, Table)
    row = dict(zip(table.columns, table.rows[2], strict=True))
    assert row["trainer"] == "nnUNetTrainerRASUNet"
    assert (row["seconds per epoch"], row["million parameters"], row["trainings"]) == (12.5, 1e-4, 4)
    assert row["GPU memory, GiB"] is None


def test_worst_and_median_of_every_trainer_are_shown(page: Page) -> None:
    shown = parts(page, "What it looks like")
    pictures = [part.caption for part in shown if isinstance(part, Picture)]
    scenes = [part for part in shown if isinstance(part, Plot)]
    assert len(pictures) == len(scenes) == 2 * len(NAMES)
    assert all(scene.needs_3d and scene.folded for scene in scenes)
    for name in NAMES:
        words = [caption.split(" case:")[0] for caption in pictures if caption.startswith(f"{name}, ")]
        assert words == [f"{name}, worst", f"{name}, median"]


def test_the_papers_numbers_stand_beside_ours_with_the_warning(page: Page) -> None:
    words, table = parts(page, "Beside the papers")
    assert isinstance(words, Text)
    assert isinstance(table, Table)
    assert words.sentences[0].startswith("Paper 004")
    assert "The data differ" in table.note
    row = next(row for row in table.rows if row[0] == "RAS U-Net")
    cells = dict(zip(table.columns, row, strict=True))
    assert cells["Dice, %, paper"] == 74.08
    ours = cells["Dice, %, here"]
    assert isinstance(ours, float)
    assert 90 < ours < 100


def test_every_paper_has_structures_of_its_own() -> None:
    names = ["coronary_artery", "left_ventricle", "femur", "Eye_L", "liver_target"]
    assert [paper.structures(names) for paper in PAPERS] == [(name,) for name in names]


def test_every_case_and_every_training_is_listed(page: Page) -> None:
    every = parts(page, "Everything")
    table = next(p for p in every if isinstance(p, Table) and "Dice" in p.folded)
    assert len(table.rows) == 10 * 2
    trainings = next(p for p in every if isinstance(p, Table) and p.folded == "16 trainings")
    assert {row[1] for row in trainings.rows} == {"finished"}


def test_one_value_a_patient_that_is_missing_leaves_the_others(
    benchmark_home: tuple[Path, Places], scored: Scored
) -> None:
    _, places = benchmark_home
    arm = Arm("nnUNetTrainer", "nnUNetPlans", "3d_fullres")
    holes = []
    for table in scored.tables:
        scores = table.scores[arm].copy()
        scores[0, 0] = float("nan")
        holes.append(replace(table, scores={arm: scores}))
    trained = Trained(places, replace(scored, tables=tuple(holes)), {arm: "vanilla"}, read_records(places))
    row = tables.scores_table(trained, "Dice").rows[0]
    assert all(cell == cell for cell in row)
    assert tables.costs(trained)[0].accuracy == pytest.approx(row[3])


def test_the_command_writes_page_and_markdown(
    benchmark_home: tuple[Path, Places],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, places = benchmark_home
    for name in ("raw", "preprocessed"):
        monkeypatch.setenv(f"nnUNet_{name}", str(folder / name))
    files = {"html": tmp_path / "r.html", "markdown": tmp_path / "r.md"}
    options = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    assert main(["benchmark", "report", str(places.root), *options, "--no-pbar"]) == 0
    assert capsys.readouterr().out.count("Dice of") == 8
    text = files["markdown"].read_text()
    assert "| nnUNetTrainerRASUNet |" in text
    assert "## Is the difference real?" in text
    assert files["html"].stat().st_size > 1_000_000
    scores = json.loads(next((places.root / "scores").iterdir()).read_text())["scores"]
    assert "hd_mm" in next(iter(scores.values()))["liver"]


def test_nothing_to_report_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    assert main(["benchmark", "report", str(tmp_path)]) == 2
    assert "benchmark.json" in caplog.text
