"""Only probabilities of cases that their fold never saw are learned from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from refinement_home import FOLDS, RefinementHome, make_refinement_home

from nnunet_ext.refinement.outputs import Outputs
from nnunet_ext.refinement.sources import InFoldError, out_of_fold


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> RefinementHome:
    return make_refinement_home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def home(pristine: RefinementHome, tmp_path: Path) -> RefinementHome:
    """One that the test may change."""
    shutil.copytree(pristine.root, tmp_path / "home")
    return RefinementHome(tmp_path / "home", pristine.labels, pristine.shape)


def test_all_folds_cases_with_their_references(home: RefinementHome) -> None:
    source = home.source()
    assert source.folds == tuple(range(FOLDS))
    assert [(case.name, case.fold) for case in source.cases] == [(f"case_{n}", n % FOLDS) for n in range(6)]
    assert all(file.is_file() for c in source.cases for file in (c.probabilities, c.properties, c.reference))
    identity = source.identity()
    assert (identity["trainer"], identity["configuration"]) == ("nnUNetTrainer", "tiny")
    assert len(identity["sha256"]) == FOLDS + 2


def move_into_fold_0(home: RefinementHome) -> None:
    """Fold 0's folder gets probabilities of a case that it was trained on."""
    for ending in (".npz", ".pkl"):
        shutil.copy(home.validation(1) / f"case_1{ending}", home.validation(0))


def change_splits(change: Callable[[list[dict[str, list[str]]]], None]) -> Callable[[RefinementHome], None]:
    def apply(home: RefinementHome) -> None:
        file = home.preprocessed / "splits_final.json"
        splits = json.loads(file.read_text())
        change(splits)
        file.write_text(json.dumps(splits))

    return apply


def validated_under_other_splits(home: RefinementHome) -> None:
    """Fold 0 was trained on case_1 and validated case_3; with new splits ``--val --npz`` was typed."""
    for ending in (".npz", ".pkl", ".nii.gz"):
        shutil.copy(home.validation(1) / f"case_1{ending}", home.validation(0))
    for ending in (".npz", ".pkl"):
        (home.validation(0) / f"case_3{ending}").unlink()
    change_splits(lambda s: s.__setitem__(0, _exchanged(s[0], "case_3", "case_1")))(home)


def _exchanged(split: dict[str, list[str]], out: str, into: str) -> dict[str, list[str]]:
    new = {out: into, into: out}
    return {part: [new.get(case, case) for case in split[part]] for part in split}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (move_into_fold_0, "which it was trained on: case_1"),
        (
            change_splits(lambda s: s[0]["train"].append("case_0")),
            "trains on cases that it validates: case_0",
        ),
        (change_splits(lambda s: s.__setitem__(0, {**s[1]})), "not in the validation of fold 0"),
        (
            lambda home: (home.validation(2) / "case_5.npz").unlink(),
            r"1 validation cases of fold 2 have no probabilities: case_5. Type: nnUNetv2_train "
            "Dataset990_tiny tiny 2 -tr nnUNetTrainer -p nnUNetPlans --val --npz",
        ),
        (
            lambda home: (home.model / "fold_1" / "checkpoint_final.pth").unlink(),
            r"expected checkpoint_final.pth of fold 1.*nnUNetv2_train Dataset990_tiny tiny 1",
        ),
        (lambda home: (home.preprocessed / "splits_final.json").unlink(), "expected the splits in"),
        (
            change_splits(lambda s: (s[1]["val"].append("case_0"), s[1]["train"].remove("case_0"))),
            "1 validation cases of fold 1 have no probabilities: case_0",
        ),
        (validated_under_other_splits, "label maps of case_3, which fold 0 trains on by splits_final.json"),
    ],
)
def test_in_fold_or_missing_probabilities_are_refused(
    home: RefinementHome, spoil: Callable[[RefinementHome], object], message: str
) -> None:
    spoil(home)
    with pytest.raises(InFoldError, match=message):
        home.source()


def test_a_case_that_two_folds_validated_is_refused(home: RefinementHome) -> None:
    change_splits(lambda s: (s[1]["val"].append("case_0"), s[1]["train"].remove("case_0")))(home)
    for ending in (".npz", ".pkl"):
        shutil.copy(home.validation(0) / f"case_0{ending}", home.validation(1))
    with pytest.raises(InFoldError, match="case_0 is in the validation of folds 0 and 1"):
        home.source()
    assert len(home.source(folds=[0, 2]).cases) == 4


def test_folds_that_nobody_can_check_are_refused(home: RefinementHome) -> None:
    with pytest.raises(InFoldError, match="fold all validates the cases that it was trained on"):
        home.source(folds=["all"])
    with pytest.raises(InFoldError, match=r"fold 7 is not in splits_final\.json, which has 3"):
        home.source(folds=[0, 7])
    with pytest.raises(ValueError, match=r"expected two folds at least, got \[1\]"):
        home.source(folds=[1])


def test_two_dimensional_configurations_are_refused_by_name(home: RefinementHome) -> None:
    outputs = home.source().outputs
    plans = json.loads(json.dumps(outputs.plans))
    plans["configurations"]["2d"] = {**plans["configurations"]["tiny"], "spacing": [1.0, 1.0]}
    with pytest.raises(ValueError, match=r"2d is two-dimensional: .* Refine a 3d configuration"):
        Outputs(plans, outputs.dataset_json, "2d")


def test_a_folder_that_is_no_model_is_refused(home: RefinementHome) -> None:
    with pytest.raises(ValueError, match="expected a folder TRAINER__PLANS__CONFIGURATION"):
        out_of_fold(home.model.parent, preprocessed=home.preprocessed)
