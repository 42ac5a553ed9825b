"""The page of a benchmark says what its files say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nnunet_ext.dataset_conversion.registry import converter

from nnunet_ext.cli.main import main
from nnunet_ext.evaluation.benchmark.matrix import Arm
from nnunet_ext.evaluation.benchmark.places import Places
from nnunet_ext.evaluation.benchmark.scores import Scored, score
from nnunet_ext.evaluation.benchmark.scores import Table as ScoreTable
from nnunet_ext.evaluation.cases import read_dataset_json
from nnunet_ext.evaluation.report import benchmark_tables as tables
from nnunet_ext.evaluation.report.benchmark_page import benchmark_page
from nnunet_ext.evaluation.report.benchmark_tables import Trained, read_records
from nnunet_ext.evaluation.report.page import Page, Picture, Plot, Table, Text, html
from nnunet_ext.evaluation.report.paper_tables import paper_table
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
    key, first = parts(page, "Is the difference real?")[:2]
    assert isinstance(key, Text)
    assert "Holm's correction" in key.sentences[0]
    assert isinstance(first, Text)
    of_liver = {s.split(": ")[0]: s.split(": ")[1].split(" (")[0] for s in first.sentences if "liver" in s}
    assert of_liver == {
        f"{trainer} against {vanilla}, Dice of liver": verdict
        for trainer, verdict in (("nnUNetTrainerRASUNet", "better"), ("nnUNetTrainerVNet", "worse"))
        for vanilla in NAMES[:2]
    }
    against = [s.split(" against ")[1].split(", ")[0] for s in first.sentences]
    assert against == [NAMES[0]] * 4 + [NAMES[1]] * 4  # one baseline after the other
    assert page.lead[1:3] == [
        f"In Dice against {vanilla}, 4 comparisons: 1 better, 1 worse, 2 cannot tell."
        for vanilla in NAMES[:2]
    ]


def test_better_than_one_baseline_is_not_counted_for_another(
    benchmark_home: tuple[Path, Places], scored: Scored
) -> None:
    _, places = benchmark_home
    weak = Arm("nnUNetTrainer", "nnUNetResEncUNetMPlans", "3d_fullres")
    tables_ = tuple(
        replace(t, scores={arm: values * (arm != weak) for arm, values in t.scores.items()})
        for t in scored.tables
    )
    lead = small_page(places, replace(scored, tables=tables_)).lead
    assert lead[1] == "In Dice against nnUNetTrainer, 4 comparisons: 1 better, 1 worse, 2 cannot tell."
    assert lead[2] == (
        "In Dice against nnUNetTrainer (ResEncUNetM), 4 comparisons: 4 better, 0 worse, 0 cannot tell."
    )


def test_what_is_not_compared_is_said_first(benchmark_home: tuple[Path, Places], scored: Scored) -> None:
    _, places = benchmark_home
    arms = places.matrix.arms
    plain = [arm for arm in arms if arm.plans == "nnUNetPlans"]
    kept = tuple(replace(t, scores={arm: t.scores[arm] for arm in plain[:-1]}) for t in scored.tables)
    left = replace(scored, tables=kept, left_out=(plain[-1],), unfinished=(places.matrix.runs[-1],))
    lead = " ".join(small_page(places, left).lead)
    assert "not trained on residual encoder plans of matching memory" in lead
    assert f"it has not finished every fold of any repeat: {plain[-1]}." in lead
    assert "Left out, as repeats" not in lead
    whole = " ".join(small_page(places, scored).lead)
    assert "residual encoder" not in whole
    assert "every fold of any repeat" not in whole


@pytest.mark.parametrize("cases", [1, 2, 5, 500])
def test_a_page_of_few_and_of_many_patients(
    benchmark_home: tuple[Path, Places], scored: Scored, cases: int
) -> None:
    _, places = benchmark_home
    names = tuple(f"case_{n:03d}" for n in range(cases))
    rng = np.random.default_rng(0)
    many = tuple(
        replace(t, cases=names, scores={arm: rng.uniform(0.5, 0.9, (cases, 2)) for arm in t.scores})
        for t in scored.tables
    )
    made = small_page(places, replace(scored, tables=many))
    assert made.lead[0].startswith(f"{cases} patients, ")
    of_cases = next(p for p in parts(made, "Everything") if isinstance(p, Table) and "Dice" in p.folded)
    assert len(of_cases.rows) == 2 * cases
    sentences = next(
        p for p in parts(made, "Is the difference real?") if not isinstance(p, Text) or p.sentences
    )
    assert isinstance(sentences, Text) == (cases > 1)
    assert len(html(made)) < 12_000_000


def small_page(places: Places, scored: Scored) -> Page:
    """A page whose pictures are not at hand."""
    labels = label_table({"labels": {"background": 0, "liver": 1, "tumor": 2}})
    nowhere = places.root / "nowhere"
    return benchmark_page(
        places, scored, labels=labels, references=nowhere, images=None, file_ending=".nii.gz"
    )


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
    assert "GPU memory, GiB" not in row  # known of none


def test_worst_and_median_of_every_trainer_are_shown(page: Page) -> None:
    shown = parts(page, "What it looks like")
    pictures = [part.caption for part in shown if isinstance(part, Picture)]
    scenes = [part for part in shown if isinstance(part, Plot)]
    assert len(pictures) == len(scenes) == 2 * len(NAMES)
    assert all(scene.needs_3d and scene.folded for scene in scenes)
    for name in NAMES:
        words = [caption.split(" case:")[0] for caption in pictures if caption.startswith(f"{name}, ")]
        assert words == [f"{name}, worst", f"{name}, median"]


def test_the_papers_numbers_stand_beside_ours_with_the_warning(page: Page, scored: Scored) -> None:
    words, table = parts(page, "Beside the papers")
    assert isinstance(words, Text)
    assert isinstance(table, Table)
    assert words.sentences[0].startswith("Paper 004")
    assert "Here: tumor. The data differ" in table.note  # the paper's target is not the whole liver
    row = next(row for row in table.rows if row[0] == "RAS U-Net")
    cells = dict(zip(table.columns, row, strict=True))
    assert cells["Dice, %, paper"] == 74.08
    tumor = next(t for t in scored.tables if (t.metric, t.structure) == ("Dice", "tumor"))
    arm = next(arm for arm in tumor.scores if arm.trainer == "nnUNetTrainerRASUNet")
    assert cells["Dice, %, here"] == pytest.approx(100 * tumor.scores[arm].mean())


@pytest.mark.parametrize(
    ("name", "papers"),
    [
        ("liver-target", ["004"]),
        ("imagecas", ["000"]),
        ("asoca", ["000"]),
        ("coronary-cta", ["000"]),
        ("mmwhs-ct", ["001"]),
        ("mmwhs-mr", ["001"]),
        ("lower-limb", ["002"]),
        ("brain-oar", ["003"]),
        ("hanseg", ["003"]),
        ("pddca", ["003"]),  # whose mandible is no bone of the leg
        ("lits", ["004"]),
        ("msd-liver", ["004"]),
        ("synthrad-ct", []),
    ],
)
def test_our_datasets_stand_beside_their_paper_and_no_other(name: str, papers: list[str]) -> None:
    made = converter(name)
    found = {
        p.paper: p.structures((label.name for label in made.labels), dataset=f"Dataset001_{made.title}")
        for p in PAPERS
    }
    assert [paper for paper, structures in found.items() if structures] == papers


@pytest.mark.parametrize(
    ("dataset", "names"),
    [
        ("Dataset001_BrainTumour", ["edema", "tumor"]),
        ("Dataset002_Neck", ["GTV", "A_Carotid_L", "Bone_Mandible"]),
        ("Dataset003_Abdomen", ["liver", "kidney", "aorta"]),
        ("Dataset004_Hippocampus", ["Anterior", "Posterior"]),
    ],
)
def test_what_no_paper_is_about_stands_beside_none(dataset: str, names: list[str]) -> None:
    assert [paper.structures(names, dataset=dataset) for paper in PAPERS] == [()] * len(PAPERS)


def test_a_paper_whose_rows_are_organs_has_every_trainer_beside_them(
    benchmark_home: tuple[Path, Places],
) -> None:
    _, places = benchmark_home
    arms = (Arm("nnUNetTrainer", "nnUNetPlans", "2d"), Arm("nnUNetTrainerResUNet", "nnUNetPlans", "2d"))
    found = [
        ScoreTable(metric, structure, ("a",), {arm: np.full((1, 1), score + n) for n, arm in enumerate(arms)})
        for metric, score in (("Dice", 0.0), ("hd95_mm", 7.0))
        for structure in ("Eye_R", "OpticChiasm")
    ]
    trained = Trained(places, Scored(tuple(found), (0,), ()), dict(zip(arms, "ab", strict=True)), {})
    table = paper_table(trained, next(paper for paper in PAPERS if paper.paper == "003"))
    assert table is not None
    assert table.columns[:5] == ["organ", "Dice, %, paper", "Dice, %, a", "Dice, %, b", "HD95, mm, paper"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["right eye"] == [87.54, 0, 100, 3.19, 7, 8]
    assert rows["chiasm"] == [70.47, 0, 100, 3.30, 7, 8]
    assert rows["left eye"] == [87.62, None, None, 2.82, None, None]


def test_structures_that_are_missed_or_invented_are_counted(
    benchmark_home: tuple[Path, Places], page: Page, scored: Scored
) -> None:
    _, places = benchmark_home
    assert not [
        part for part in parts(page, "Scores") if isinstance(part, Table) and "missed" in part.columns
    ]
    arm = Arm("nnUNetTrainerVNet", "nnUNetPlans", "3d_fullres")
    # Of the first patient nothing was predicted, in both trainings; of the second, in one, something that is
    # not there; the third is empty and was found so.
    lost = {"precision": [(0, 0), (0, 1), (2, 0)], "recall": [(1, 1), (2, 0)], "Dice": [(2, 0)]}
    changed = []
    for table in scored.tables:
        scores = {a: values.copy() for a, values in table.scores.items()}
        for place in lost.get(table.metric, []) if table.structure == "tumor" else []:
            scores[arm][place] = np.nan
        changed.append(replace(table, scores=scores))
    names = {arm: "V-Net", Arm("nnUNetTrainer", "nnUNetPlans", "3d_fullres"): "vanilla"}
    trained = Trained(places, replace(scored, tables=tuple(changed)), names, {})
    found = tables.missing_table(trained)
    assert found is not None
    assert found.rows == [["V-Net", "tumor", 2, 1, 1, 20]]


def test_every_case_and_every_training_is_listed(page: Page) -> None:
    every = parts(page, "Everything")
    table = next(p for p in every if isinstance(p, Table) and "Dice" in p.folded)
    assert len(table.rows) == 10 * 2
    meanings = next(p for p in every if isinstance(p, Table) and p.folded == "What each number means")
    assert any(row[0] == "missing missing prediction" for row in meanings.rows)
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
