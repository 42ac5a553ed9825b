"""nnU-Net's probabilities: read as it wrote them, and refused where they are something else."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from refinement_home import SHAPES, RefinementHome, read

from nnunet_ext.inference.cases import CaseError
from nnunet_ext.inference.export import restored_labels
from nnunet_ext.refinement.cache import cached, read_reference, transposed_and_cropped
from nnunet_ext.refinement.probabilities import open_probabilities, read_properties, to_grid
from nnunet_ext.refinement.sources import OutOfFoldCase

HomeOf = Callable[..., RefinementHome]


def opened(home: RefinementHome, case: OutOfFoldCase, scratch: Path) -> np.ndarray:
    outputs = home.source().outputs
    properties = read_properties(case.properties)
    return open_probabilities(case.probabilities, outputs=outputs, properties=properties, scratch=scratch)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("labels", ["plain", "regions"])
def test_their_labels_are_nnunets(home_of: HomeOf, labels: str, shape: str, tmp_path: Path) -> None:
    """Opened, turned into labels and put back, they are the label map that nnU-Net wrote beside them."""
    home = home_of(labels, shape)
    source = home.source()
    case = source.cases[0]
    found = np.array(opened(home, case, tmp_path))
    segmentation = source.outputs.label_manager.convert_probabilities_to_segmentation(found)
    properties = read_properties(case.properties)
    assert list(found.shape[1:]) != list(properties["shape_before_cropping"]), "nnU-Net has cropped"
    whole = restored_labels(segmentation, model=source.outputs, properties=properties)
    written = read(case.probabilities.with_suffix(".nii.gz"))
    np.testing.assert_array_equal(whole, written)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_grid_is_that_of_nnunets_preprocessing(home_of: HomeOf, shape: str, tmp_path: Path) -> None:
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    home = home_of("plain", shape)
    source = home.source()
    outputs, case = source.outputs, source.cases[0]
    data, segmentation, _ = DefaultPreprocessor(verbose=False).run_case(
        [str(home.root / "images" / f"{case.name}_0000.nii.gz")],
        str(case.reference),
        outputs.plans_manager,
        outputs.configuration_manager,
        outputs.dataset_json,
    )
    kept = cached(case, outputs=outputs, folder=tmp_path)
    assert kept.probabilities.shape == (3, *data.shape[1:])
    assert kept.labels.shape == data.shape[1:]
    agree = (np.array(kept.labels) == np.maximum(segmentation[0], 0)).mean()
    assert agree > 0.97, "nnU-Net resamples labels by linear one-hot, we take the nearest"
    # What was one network's output on this grid is so again, but for the way there and back.
    sharp = np.array(kept.probabilities).argmax(0)
    assert (sharp == np.array(kept.labels)).mean() > 0.8


def test_half_precision_in_the_grid_is_close(home_of: HomeOf, tmp_path: Path) -> None:
    home = home_of("plain", "isotropic")
    found = opened(home, home.source().cases[0], tmp_path)
    grid = to_grid(found, shape=found.shape[1:], has_regions=False, file=tmp_path / "grid.npy")
    np.testing.assert_allclose(grid.astype(np.float32), found, atol=5e-4)


def test_points_lie_on_foreground_and_never_on_what_is_ignored(home_of: HomeOf, tmp_path: Path) -> None:
    home = home_of("ignore")
    source = home.source()
    kept = cached(source.cases[0], outputs=source.outputs, folder=tmp_path)
    at = tuple(kept.points.T)
    labels = np.array(kept.labels)[at]
    predicted = np.array(kept.probabilities).argmax(0)[at]
    assert len(kept.points)
    assert (labels != 3).all()
    assert ((labels > 0) | (predicted > 0)).all()
    assert kept.confusion.sum() == (np.array(kept.labels) != 3).sum()
    assert kept.error_certainty.sum() == kept.confusion.sum() - np.trace(kept.confusion)


def test_the_cache_is_kept_until_a_file_changes(home_of: HomeOf, tmp_path: Path) -> None:
    home = home_of("plain")
    source = home.source()
    case, outputs = source.cases[0], source.outputs
    cached(case, outputs=outputs, folder=tmp_path)
    file = tmp_path / f"{case.name}.probabilities.npy"
    stamp = file.stat().st_mtime_ns
    cached(case, outputs=outputs, folder=tmp_path)
    assert file.stat().st_mtime_ns == stamp
    other = tmp_path / "reference.nii.gz"
    shutil.copy(source.cases[1].reference, other)
    changed = OutOfFoldCase(case.name, case.fold, case.probabilities, other)
    found = cached(changed, outputs=outputs, folder=tmp_path)
    assert file.stat().st_mtime_ns != stamp
    reference = transposed_and_cropped(
        read_reference(changed, outputs), outputs, read_properties(case.properties)
    )
    np.testing.assert_array_equal(np.array(found.labels), reference)


def copy_of(case: OutOfFoldCase, folder: Path) -> OutOfFoldCase:
    for file in (case.probabilities, case.properties, case.reference):
        shutil.copy(file, folder)
    return OutOfFoldCase(case.name, case.fold, folder / case.probabilities.name, folder / case.reference.name)


def cut_off(case: OutOfFoldCase) -> None:
    content = case.probabilities.read_bytes()
    case.probabilities.write_bytes(content[: len(content) // 2])


def flip_a_byte(case: OutOfFoldCase) -> None:
    content = bytearray(case.probabilities.read_bytes())
    content[len(content) // 2] ^= 0xFF
    case.probabilities.write_bytes(bytes(content))


def with_array(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[OutOfFoldCase], None]:
    def spoil(case: OutOfFoldCase) -> None:
        with np.load(case.probabilities) as archive:
            array = archive["probabilities"]
        np.savez_compressed(case.probabilities, probabilities=change(array))

    return spoil


def other_properties(case: OutOfFoldCase) -> None:
    case.properties.write_bytes(pickle.dumps({"spacing": [1, 1, 1]}))


def with_value(number: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[:, 5, 5, 5] = number
        return array

    return change


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut_off, "cannot be read"),
        (flip_a_byte, "cannot be read"),
        (lambda case: np.savez(case.probabilities, softmax=np.zeros(3)), "cannot be read"),
        (with_array(lambda a: a[:2]), r"expected probabilities of shape \(3, 10, 18, 22\)"),
        (with_array(lambda a: a[:, 1:]), r"expected probabilities of shape \(3, 10, 18, 22\)"),
        (with_array(with_value(float("nan"))), "from 0 to 1, got nan"),
        (with_array(lambda a: np.log(a + 1e-6)), "expected probabilities from 0 to 1"),
        (with_array(with_value(0.9)), "sum to 1 over the classes"),
        (other_properties, "expected shape_before_cropping"),
        (lambda case: case.properties.unlink(), "a file is missing"),
        (lambda case: case.properties.write_bytes(b"no pickle"), "cannot be read"),
        (lambda case: case.reference.write_bytes(b"no image"), "the reference .* cannot be read"),
    ],
)
def test_what_is_no_probabilities_is_refused(
    home_of: HomeOf, spoil: Callable[[OutOfFoldCase], object], message: str, tmp_path: Path
) -> None:
    source = home_of("plain").source()
    case = copy_of(source.cases[0], tmp_path)
    spoil(case)
    with pytest.raises(CaseError, match=message):
        cached(case, outputs=source.outputs, folder=tmp_path / "cache")


def test_references_of_another_image_or_with_other_labels_are_refused(
    home_of: HomeOf, tmp_path: Path
) -> None:
    from refinement_home import write

    source = home_of("plain").source()
    case = copy_of(source.cases[0], tmp_path)
    write(np.zeros((4, 5, 6), np.uint8), case.reference, (1, 1, 1))
    with pytest.raises(CaseError, match="expected a reference of shape"):
        cached(case, outputs=source.outputs, folder=tmp_path / "cache")
    write(np.full((10, 18, 22), 7, np.uint8), case.reference, (1, 1, 1))
    with pytest.raises(CaseError, match=r"expected values \[0, 1, 2\]"):
        cached(case, outputs=source.outputs, folder=tmp_path / "cache")
