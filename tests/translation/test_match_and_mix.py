"""The control by histograms, and the mixed dataset whose folds validate real patients alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from translation_home import CT, MR, TranslationHome, write_array, write_home

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.translation.dataset import Method, translate_dataset
from nnunet_ext.translation.match import HistogramMatcher, look_at_ct
from nnunet_ext.translation.mix import SUFFIX, how_many, mix, mixed_splits


@pytest.fixture(scope="module")
def matched(tmp_path_factory: pytest.TempPathFactory) -> TranslationHome:
    """Five patients of each modality, and the MR as matched "CT"; not to be changed."""
    home = write_home(tmp_path_factory.mktemp("mix"), cases=5)
    look = look_at_ct(home.raw / CT, progress=False)
    method = Method(HistogramMatcher(look), {"method": "match"}, look.target)
    translate_dataset(home.raw / MR, home.raw / "Dataset043_S", method, progress=False)
    return home


def test_a_matched_image_has_the_histogram_of_ct_and_the_order_of_mr(matched: TranslationHome) -> None:
    image = matched.raw / "Dataset043_S" / "imagesTr" / "mr_0_0000.nii.gz"
    hu = sitk.GetArrayFromImage(sitk.ReadImage(str(image)))
    mr = sitk.GetArrayFromImage(sitk.ReadImage(str(matched.raw / MR / "imagesTr" / "mr_0_0000.nii.gz")))
    every = np.concatenate(
        [
            sitk.GetArrayFromImage(sitk.ReadImage(str(file))).ravel()
            for file in sorted((matched.raw / CT / "imagesTr").iterdir())
        ]
    )
    ranks = np.linspace(1, 99, 25)
    for found, wanted in ((hu[mr < 150], every[every < -500]), (hu[mr > 150], every[every > -500])):
        np.testing.assert_allclose(np.percentile(found, ranks), np.percentile(wanted, ranks), atol=12)
    order = np.argsort(mr.ravel(), kind="stable")
    assert (np.diff(hu.ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize("air", [0.2, 0.5, 0.8])
def test_a_background_of_zeros_is_air_however_large(
    matched: TranslationHome, tmp_path: Path, air: float
) -> None:
    """Equal values used to take the upper end of their share: tissue, where MR has more background."""
    rng = np.random.default_rng(0)
    image = np.zeros((10, 20, 30), np.float32)
    tissue = rng.random(image.shape) > air
    image[tissue] = np.where(rng.random(tissue.sum()) < 0.6, 300, 900) + rng.normal(0, 15, tissue.sum())
    write_array(image, tmp_path / "mr_0000.nii.gz", spacing_mm=(1, 1, 1))
    look = look_at_ct(matched.raw / CT, progress=False)
    hu = sitk.GetArrayFromImage(HistogramMatcher(look)([tmp_path / "mr_0000.nii.gz"]).image)
    assert set(np.unique(hu[~tissue])) == {-1000}
    assert hu[tissue].min() > -500
    assert abs(np.median(hu[tissue]) - np.median(look.body)) < 12


def test_an_image_of_two_values_is_refused_by_name(matched: TranslationHome, tmp_path: Path) -> None:
    image = np.zeros((8, 8, 8), np.float32)
    image[2:5] = 1
    write_array(image, tmp_path / "mr_0000.nii.gz", spacing_mm=(1, 1, 1))
    with pytest.raises(CaseError, match="no three classes of brightness"):
        HistogramMatcher(look_at_ct(matched.raw / CT, progress=False))([tmp_path / "mr_0000.nii.gz"])


def test_what_real_ct_looks_like(matched: TranslationHome) -> None:
    look = look_at_ct(matched.raw / CT, progress=False)
    assert sum(look.target.share) == pytest.approx(1)
    assert set(look.target.label_means_hu) == {"shell", "core"}
    assert np.mean(look.target.label_means_hu["core"]) == pytest.approx(700, abs=10)
    with pytest.raises(ValueError, match="expected CT in channel 0"):
        look_at_ct(matched.raw / MR, progress=False)


@pytest.mark.parametrize(
    ("fraction", "of", "number"),
    [(0, "translated", 0), (0.1, "translated", 2), (0.5, "translated", 10), (1, "translated", 20),
     (0.5, "final", 20), (0.2, "final", 5), (0.025, "translated", 1)],
)  # fmt: skip
def test_how_many(fraction: float, of: str, number: int) -> None:
    assert how_many(fraction, of=of, translated=20, real=20) == number  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fraction", "of"), [(-0.1, "translated"), (1.1, "translated"), (1.0, "final"), (0.6, "final")]
)
def test_fractions_that_cannot_be(fraction: float, of: str) -> None:
    with pytest.raises(ValueError, match=r"expected a fraction|needs 30 synthetic cases"):
        how_many(fraction, of=of, translated=20, real=20)  # type: ignore[arg-type]


@given(
    patients=st.lists(st.integers(0, 6), min_size=5, max_size=20),
    folds=st.integers(2, 5),
    seed=st.integers(0, 9),
)
def test_no_patient_stands_on_both_sides(patients: list[int], folds: int, seed: int) -> None:
    """Cases of both kinds, in any number of a patient, real ones split by patient."""
    rng = np.random.default_rng(seed)
    real = {f"r{n}": f"p{p}" for n, p in enumerate(patients)}
    synthetic = {f"s{n}": f"p{rng.integers(9)}" for n in range(10)}
    fold_of = {p: int(rng.integers(folds)) for p in set(real.values())}
    splits = [
        {
            "train": [c for c, p in real.items() if fold_of[p] != fold],
            "val": [c for c, p in real.items() if fold_of[p] == fold],
        }
        for fold in range(folds)
    ]
    mixed = mixed_splits(splits, list(synthetic), patients={**real, **synthetic})
    for before, after in zip(splits, mixed, strict=True):
        assert sorted(before["val"]) == after["val"]
        validated = {real[case] for case in after["val"]}
        trained = {{**real, **synthetic}[case] for case in after["train"]}
        assert validated.isdisjoint(trained)
        assert set(before["train"]) == set(after["train"]) - set(synthetic)
        left_out = set(synthetic) - set(after["train"])
        assert all(synthetic[case] in validated for case in left_out)


def test_a_mixed_dataset(matched: TranslationHome, tmp_path: Path) -> None:
    raw = matched.raw
    patients = {"mr_0": "ann", "ct_3": "ann"}
    target = tmp_path / "Dataset045_Mixed"
    mixed = mix(raw / CT, raw / "Dataset043_S", target, fraction=1.0, patients=patients, progress=False)
    names = tuple(f"mr_{n}{SUFFIX}" for n in range(5))
    assert (mixed.real, mixed.synthetic, mixed.with_real_patient) == (5, names, (names[0],))
    description = json.loads((target / "dataset.json").read_text())
    assert description["numTraining"] == 10
    assert description["synthetic_cases"] == list(names)
    assert description["mix"]["fraction"] == 1.0
    assert description["mix"]["translation"]["method"] == "match"
    splits = json.loads((target / "splits_final.json").read_text())
    assert len(splits) == 5
    for split in splits:
        assert not set(split["val"]) & set(names)
        assert (names[0] in split["train"]) == ("ct_3" not in split["val"])
        assert set(names[1:]) <= set(split["train"])
    for source, target_file in (
        (raw / CT / "imagesTr" / "ct_2_0000.nii.gz", target / "imagesTr" / "ct_2_0000.nii.gz"),
        (
            raw / "Dataset043_S" / "imagesTr" / "mr_2_0000.nii.gz",
            target / "imagesTr" / f"mr_2{SUFFIX}_0000.nii.gz",
        ),
        (raw / MR / "labelsTr" / "mr_2.nii.gz", target / "labelsTr" / f"mr_2{SUFFIX}.nii.gz"),
    ):
        assert target_file.read_bytes() == source.read_bytes()


def test_a_larger_fraction_holds_the_cases_of_a_smaller_one(matched: TranslationHome, tmp_path: Path) -> None:
    chosen = []
    for fraction in (0.0, 0.2, 0.6, 1.0):
        target = tmp_path / f"Dataset{50 + int(10 * fraction):03d}_M"
        mixed = mix(
            matched.raw / CT, matched.raw / "Dataset043_S", target, fraction=fraction, seed=4, progress=False
        )
        chosen.append(set(mixed.synthetic))
    assert [len(c) for c in chosen] == [0, 1, 3, 5]
    assert chosen[0] < chosen[1] < chosen[2] < chosen[3]


def test_splits_of_the_real_dataset_are_kept(matched: TranslationHome, tmp_path: Path) -> None:
    preprocessed = tmp_path / "preprocessed"
    preprocessed.mkdir()
    splits = [{"train": ["ct_0", "ct_1", "ct_2"], "val": ["ct_3", "ct_4"]}]
    (preprocessed / "splits_final.json").write_text(json.dumps(splits))
    source = matched.raw / CT, matched.raw / "Dataset043_S"
    target = tmp_path / "Dataset045_Mixed"
    mix(*source, target, fraction=0.2, preprocessed_real=preprocessed, progress=False)
    (split,) = json.loads((target / "splits_final.json").read_text())
    assert split["val"] == ["ct_3", "ct_4"]
    assert len(split["train"]) == 4
    splits[0]["val"].append("ct_9")
    (preprocessed / "splits_final.json").write_text(json.dumps(splits))
    with pytest.raises(ValueError, match=r"names cases that .* has not, such as ct_9"):
        mix(*source, tmp_path / "Dataset046_M", fraction=0.2, preprocessed_real=preprocessed, progress=False)


def test_it_goes_on_and_refuses_what_is_there(matched: TranslationHome, tmp_path: Path) -> None:
    source = matched.raw / CT, matched.raw / "Dataset043_S"
    target = tmp_path / "Dataset045_Mixed"
    mix(*source, target, fraction=0.4, progress=False)
    (target / "dataset.json").unlink()  # as after a kill
    (target / "imagesTr" / "ct_1_0000.nii.gz").write_bytes(b"cut off")
    mix(*source, target, fraction=0.4, progress=False)
    original = matched.raw / CT / "imagesTr" / "ct_1_0000.nii.gz"
    assert (target / "imagesTr" / "ct_1_0000.nii.gz").read_bytes() == original.read_bytes()
    with pytest.raises(ValueError, match="was mixed otherwise"):
        mix(*source, target, fraction=0.6, progress=False)
    with pytest.raises(ValueError, match="holds another dataset"):
        mix(*source, matched.raw / MR, fraction=0.6, progress=False)


def test_datasets_that_do_not_go_together_are_refused(matched: TranslationHome, tmp_path: Path) -> None:
    raw = matched.raw
    target = tmp_path / "Dataset045_Mixed"
    with pytest.raises(ValueError, match="same channel_names"):
        mix(raw / CT, raw / MR, target, fraction=0.5, progress=False)
    with pytest.raises(ValueError, match="holds no synthetic cases"):
        mix(raw / CT, raw / CT, target, fraction=0.5, progress=False)
    with pytest.raises(ValueError, match="holds synthetic cases itself"):
        mix(raw / "Dataset043_S", raw / "Dataset043_S", target, fraction=0.5, progress=False)
    assert not target.exists()
    mix(raw / CT, raw / "Dataset043_S", target, fraction=0.5, progress=False)
    with pytest.raises(ValueError, match=r"expected synthetic cases alone in .*got ct_0 beside them"):
        mix(raw / CT, target, tmp_path / "Dataset046_M", fraction=0.5, progress=False)


def test_a_channel_in_small_letters_is_ct_too(matched: TranslationHome, tmp_path: Path) -> None:
    copy = tmp_path / "Dataset042_CT"
    shutil.copytree(matched.raw / CT, copy)
    content = json.loads((copy / "dataset.json").read_text())
    (copy / "dataset.json").write_text(json.dumps({**content, "channel_names": {"0": "ct"}}))
    assert (
        len(mix(copy, matched.raw / "Dataset043_S", tmp_path / "M", fraction=0.4, progress=False).synthetic)
        == 2
    )


def test_a_case_without_a_label_is_not_judged_by_its_image(matched: TranslationHome, tmp_path: Path) -> None:
    copy = tmp_path / "Dataset042_CT"
    shutil.copytree(matched.raw / CT, copy)
    (copy / "labelsTr" / "ct_1.nii.gz").unlink()
    with pytest.raises(CaseError, match="expected 2 files, every channel and a label, got 1"):
        look_at_ct(copy, progress=False)
    with pytest.raises(ValueError, match=r"ct_1 of .*expected 2 files"):
        mix(copy, matched.raw / "Dataset043_S", tmp_path / "Dataset045_M", fraction=0.2, progress=False)
