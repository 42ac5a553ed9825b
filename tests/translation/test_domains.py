"""Which datasets a translation takes, and what it says of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from translation_home import CT, MR, PLANS, TranslationHome, write_home

from nnunet_ext.translation.domains import Window, check_pair


def test_the_window_is_where_nnunet_clips(home: TranslationHome) -> None:
    ct = home.domain(CT)
    assert ct.window == Window(-1000.0, 1000.0)
    assert ct.window_in_data() == (-1.0, 1.0)
    assert ct.cases == ("ct_0", "ct_1", "ct_2")
    assert (ct.is_ct, ct.channel_name, ct.spacing_mm) == (True, "CT", (2.0, 1.0, 1.0))


def test_synthetic_cases_are_no_ct_to_learn_from(own_home: TranslationHome) -> None:
    file = own_home.preprocessed / CT / "dataset.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "synthetic_cases": ["ct_1"]}))
    assert own_home.domain(CT).cases == ("ct_0", "ct_2")


def change_plans(home: TranslationHome, dataset: str, **changes: object) -> None:
    file = home.preprocessed / dataset / f"{PLANS}.json"
    plans = json.loads(file.read_text())
    for key, value in changes.items():
        (plans if key in plans else plans["configurations"]["tiny"])[key] = value
    file.write_text(json.dumps(plans))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"spacing": [3.0, 1.0, 1.0]}, r"same spacing \(mm\).*\(3.0, 1.0, 1.0\)"),
        ({"patch_size": [16, 16, 16]}, "same patch size"),
        ({"transpose_forward": [1, 0, 2]}, "same transpose_forward"),
    ],
)
def test_datasets_that_do_not_agree_are_refused(
    own_home: TranslationHome, change: dict[str, object], named: str
) -> None:
    change_plans(own_home, MR, **change)
    with pytest.raises(ValueError, match=named):
        check_pair(*own_home.domains())


def test_wrong_modalities_are_refused(home: TranslationHome) -> None:
    mr, ct = home.domains()
    with pytest.raises(ValueError, match="expected CT as the target, got channel 'MR'"):
        check_pair(ct, mr)
    with pytest.raises(ValueError, match="expected MRI as the source, got CT"):
        check_pair(ct, ct)


def test_what_is_missing_is_named_with_the_command(own_home: TranslationHome) -> None:
    with pytest.raises(FileNotFoundError, match="nnunet_ext translate plan"):
        own_home.domain(MR, plans_name="others")
    with pytest.raises(ValueError, match="got '3d_fullres'; there are tiny"):
        own_home.domain(MR, configuration="3d_fullres")
    with pytest.raises(ValueError, match="expected a channel"):
        own_home.domain(MR, channel=1)
    change_plans(own_home, MR, data_identifier="elsewhere")
    with pytest.raises(FileNotFoundError, match=f"nnUNetv2_preprocess -d {MR}"):
        own_home.domain(MR)


def test_an_empty_dataset_and_slices_are_refused(own_home: TranslationHome) -> None:
    for file in (own_home.preprocessed / MR / "tiny").iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError, match="got none"):
        own_home.domain(MR)
    change_plans(own_home, CT, patch_size=[16, 16])
    with pytest.raises(ValueError, match="three dimensions"):
        own_home.domain(CT)


def test_transposed_plans_agree(tmp_path: Path) -> None:
    home = write_home(tmp_path, cases=1, transpose=(2, 0, 1))
    check_pair(*home.domains())
