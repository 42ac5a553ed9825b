"""Files of cases and values of labels, and what every converter of the registry promises."""

from __future__ import annotations

import pickle
import runpy
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from clinical_images import placed
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_ext.dataset_conversion import Dataset501_LiverTarget, registry
from nnunet_ext.dataset_conversion.file_patterns import Pattern
from nnunet_ext.dataset_conversion.organ_masks import on_grid
from nnunet_ext.dataset_conversion.volume_cases import files_below, renumbered

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.clinical_io.grids import affine


@pytest.mark.parametrize("name", registry.CONVERTERS)
def test_the_registry_says_what_the_script_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, summary = registry.CONVERTERS[name]
    found = registry.converter(name)
    assert (found.name, found.summary) == (name, summary)
    assert module.partition("_")[2] == found.title
    sent = pickle.loads(pickle.dumps(found))  # as workers get it
    for function in ("discover", "read", "configure"):
        assert _unwrapped(getattr(sent, function)) == _unwrapped(getattr(found, function))
    script = Path(Dataset501_LiverTarget.__file__).with_name(f"{module}.py")
    assert f"convert {name} " in script.read_text()
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(script), run_name="__main__")
    assert left.value.code == 0


def _unwrapped(function: Any) -> Any:
    """Partial functions are equal to none but themselves."""
    return (function.func, function.keywords) if isinstance(function, partial) else function


def test_numbers_and_titles_are_there_once() -> None:
    modules = [module for module, _ in registry.CONVERTERS.values()]
    numbers = [module[len("Dataset") : len("Dataset501")] for module in modules]
    assert len(set(numbers)) == len(numbers)
    folder = Path(Dataset501_LiverTarget.__file__).parent
    assert {file.stem for file in folder.glob("Dataset*.py")} == set(modules)


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.nii").write_bytes(b"")
    source = tmp_path / "src"
    (source / "__MACOSX").mkdir(parents=True)
    (source / "__MACOSX" / "b.nii").write_bytes(b"")
    (source / ".hidden").mkdir()
    (source / ".hidden" / "c.nii").write_bytes(b"")
    (source / "._d.nii").write_bytes(b"")
    (source / "linked").symlink_to(tmp_path / "elsewhere")
    (source / "back").symlink_to(source)
    assert files_below(source) == (source / "linked" / "a.nii",)
    with pytest.raises(ValueError, match="expected the folder"):
        files_below(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("pattern", "path", "case"),
    [
        ("{case}/CT.nii", "a/CT.nii", "a"),
        ("{case}/CT.nii", "a/b/CT.nii", None),
        ("{case}/**/CT.nii", "a/b/c/CT.nii", "a"),
        ("{case}/**/CT.nii", "a/CT.nii", "a"),
        ("{case}_CT.nii", "a_CT.nii", "a"),
        ("{case}_*.nii", "a_b_c.nii", "a"),
        ("{case}/{case}_?.nii", "a/a_1.nii", "a"),
        ("{case}/{case}_?.nii", "a/b_1.nii", None),
        ("{case}.nii", "axnii", None),
        ("{case}[1].nii", "a[1].nii", "a"),
    ],
)
def test_patterns(pattern: str, path: str, case: str | None) -> None:
    assert Pattern.of(pattern).find(path) == case


@given(
    numbers=st.dictionaries(st.integers(1, 60000), st.integers(1, 200), min_size=1, max_size=8),
    kind=st.sampled_from([np.uint16, np.int32, np.float32, np.float64]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=40)
def test_every_value_becomes_its_number_or_the_label_is_refused(
    numbers: dict[int, int], kind: type, seed: int
) -> None:
    values = np.random.default_rng(seed).choice([0, *numbers], size=(3, 4, 5))
    found = SimpleITK.GetArrayFromImage(renumbered(placed(values.astype(kind)), numbers))
    expected = np.vectorize(lambda v: numbers.get(v, 0))(values)
    np.testing.assert_array_equal(found, expected)
    values[1, 1, 1] = next(v for v in range(1, 99) if v not in numbers)
    with pytest.raises(CaseError, match="label-value"):
        renumbered(placed(values.astype(kind)), numbers)


def test_a_number_that_is_none_is_no_label() -> None:
    with pytest.raises(CaseError, match="label-value"):
        renumbered(placed(np.array([[[0.0, 1.0, np.nan]]])), {1: 1})


AXES = st.sampled_from(["LPS", "RAS", "PIR", "SPL", "RAI"])


@given(
    first=st.tuples(*[st.integers(-3, 6)] * 3),
    size=st.tuples(*[st.integers(1, 9)] * 3),
    axes=AXES,
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_a_mask_on_part_of_the_grid_lands_voxel_by_voxel(
    first: tuple[int, int, int], size: tuple[int, int, int], axes: str, seed: int
) -> None:
    """Against the plain reading: each voxel of the mask by the place of its center in the world."""
    reference = placed(np.zeros((7, 8, 9), np.uint8), spacing=(0.7, 1.1, 2.3), origin=(-40, 13.25, 7))
    voxels = np.random.default_rng(seed).integers(0, 2, size[::-1]).astype(np.uint8)
    origin = (affine(reference) @ [*first, 1])[:3]
    mask = placed(voxels, spacing=reference.GetSpacing(), origin=origin)
    found, notes = on_grid(SimpleITK.DICOMOrient(mask, axes), reference, resample=False)
    expected = np.zeros((7, 8, 9), bool)
    lost = 0
    for z, y, x in zip(*np.nonzero(voxels), strict=True):
        place = np.array([z, y, x]) + first[::-1]
        if (place >= 0).all() and (place < expected.shape).all():
            expected[tuple(place)] = True
        else:
            lost += 1
    np.testing.assert_array_equal(found, expected)
    assert [note.text.split()[0] for note in notes] == ([str(lost)] if lost else [])


@pytest.mark.parametrize(
    "change",
    [
        {"spacing": (0.7, 1.1, 2.31)},
        {"origin": (-39.995, 13.25, 7)},
        {"direction": (1, 0.02, 0, -0.02, 1, 0, 0, 0, 1)},
    ],
)
def test_masks_that_are_nearly_on_the_grid_are_not_taken_for_it(change: dict[str, tuple[float, ...]]) -> None:
    place = {"spacing": (0.7, 1.1, 2.3), "origin": (-40, 13.25, 7)}
    reference = placed(np.zeros((7, 8, 9), np.uint8), **place)
    mask = placed(np.ones((6, 8, 9), np.uint8), **{**place, **change})
    with pytest.raises(CaseError, match="label-grid"):
        on_grid(mask, reference, resample=False)
    found, notes = on_grid(mask, reference, resample=True)
    assert found[:6].all()
    assert [note.code for note in notes] == ["resampled-mask"]
