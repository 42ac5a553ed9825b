"""The predictor that looks at windows alone, and the export of what it merges."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from cascade_home import FINE, GRIDS, plans_with_stages
from nnunet_home import LABELS
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_ext.cascade.fine_windows import window_of
from nnunet_ext.cascade.predictor import ProposalPredictor, coarse_label_map
from nnunet_ext.cascade.proposals import NothingFoundError, Proposed
from nnunet_ext.cascade.resampling import ResamplesProbabilities, logits_of, probabilities_of
from nnunet_ext.cascade.settings import OnEmpty, RoiProposals, SkeletonProposals

SHAPE = (40, 40, 40)


class Brightness(nn.Module):
    """A network that sees labels in the image: 1 from 0.5 on, 2 from 1.5 on. Counts what it was shown."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.shown: list[torch.Size] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shown.append(x.shape)
        shell, core = 4 * (x[:, :1] > 0.5) - 2.0, 8 * (x[:, :1] > 1.5) - 4.0
        parts = [shell, core] if self.heads == 2 else [torch.zeros_like(shell), shell, core]
        return torch.cat(parts, dim=1)


def predictor_of(proposals: Any, *, labels: str = "plain", axes: Any = None, **options: Any) -> Any:
    plans = PlansManager(plans_with_stages("Dataset920_plain", GRIDS["isotropic"]))
    described = {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz", **LABELS[labels]}
    predictor = ProposalPredictor(
        proposals=proposals, device=torch.device("cpu"), allow_tqdm=False, use_mirroring=True, **options
    )
    network = Brightness(2 if "regions" in labels else 3)
    predictor.manual_initialization(network, plans, plans.get_configuration(FINE), None, described, "T", axes)
    return predictor


def tube(shape: tuple[int, ...] = SHAPE, *, label: int = 1) -> torch.Tensor:
    """An image of a tube, and behind it the coarse result of its first half, one-hot."""
    image = np.zeros(shape, np.float32)
    image[shape[0] // 2 : shape[0] // 2 + 2, 4:-4, shape[2] // 2 : shape[2] // 2 + 2] = label
    coarse = image * (np.arange(shape[1]) < shape[1] // 2)[None, :, None]
    one_hot = [(coarse == value).astype(np.float32) for value in (1, 2)]
    return torch.from_numpy(np.stack([image, *one_hot]))


@pytest.mark.parametrize("proposals", [SkeletonProposals(), RoiProposals()], ids=["skeleton", "roi"])
@pytest.mark.parametrize("labels", ["plain", "regions"])
@pytest.mark.parametrize("axes", [None, (0, 1, 2)])
def test_it_finds_what_lies_in_windows_and_nothing_else(proposals: Any, labels: str, axes: Any) -> None:
    seen: list[Proposed] = []
    predictor = predictor_of(
        proposals, labels=labels, axes=axes, observer=lambda proposed, _: seen.append(proposed)
    )
    data = tube()
    merged, proposed = predictor.predict_probabilities(data)
    assert merged.shape == (2 if labels == "regions" else 3, *SHAPE)
    found = predictor.label_manager.convert_probabilities_to_segmentation(merged)
    inside = proposed.windows.covered()
    np.testing.assert_array_equal(found, data[0].numpy().astype(int) * inside)
    assert not inside.all()
    shown = sum(shape[0] for shape in predictor.network.shown)
    assert shown == len(proposed.windows) * (1 if axes is None else 8)
    assert {tuple(shape[2:]) for shape in predictor.network.shown} == {(16, 16, 16)}
    assert seen == [proposed]
    logits = predictor.predict_sliding_window_return_logits(data)
    assert torch.isfinite(logits).all()
    back = probabilities_of(logits, has_regions=labels == "regions")
    torch.testing.assert_close(back, merged, atol=1e-6, rtol=0)


@pytest.mark.parametrize("proposals", [SkeletonProposals(), RoiProposals()], ids=["skeleton", "roi"])
def test_batches_do_not_matter(proposals: Any) -> None:
    whole = [
        predictor_of(proposals, windows_a_batch=size).predict_probabilities(tube())[0] for size in (1, 3, 64)
    ]
    assert torch.equal(whole[0], whole[1])
    assert torch.equal(whole[0], whole[2])


def test_a_volume_smaller_than_a_window() -> None:
    data = tube((6, 40, 10))
    merged, proposed = predictor_of(SkeletonProposals()).predict_probabilities(data)
    assert merged.shape == (3, 6, 40, 10)
    expected = data[0].numpy().astype(int) * proposed.windows.covered()
    np.testing.assert_array_equal(merged.argmax(0).numpy(), expected)


def test_nothing_found() -> None:
    data = tube()
    data[1:] = 0
    for proposals, covers_all in ((SkeletonProposals(), True), (RoiProposals(), False)):
        predictor = predictor_of(proposals)
        merged, proposed = predictor.predict_probabilities(data)
        assert proposed.empty == ("foreground",)
        assert proposed.windows.covered().all() == covers_all
        assert (merged.argmax(0).sum() == data[0].sum()) == covers_all
    merged, proposed = predictor_of(SkeletonProposals(), on_empty=OnEmpty.EMPTY).predict_probabilities(data)
    assert (len(proposed.windows), float(merged[0].min())) == (0, 1.0)
    with pytest.raises(NothingFoundError):
        predictor_of(SkeletonProposals(), on_empty=OnEmpty.FAIL).predict_probabilities(data)


def test_coarse_channels_become_a_label_map() -> None:
    one_hot = torch.zeros(2, 1, 1, 3)
    one_hot[0, 0, 0, 1] = one_hot[1, 0, 0, 2] = 1
    assert coarse_label_map(one_hot, labels=[1, 5]).tolist() == [[[0, 1, 5]]]
    with pytest.raises(ValueError, match="expected 3 channels of the coarse result"):
        coarse_label_map(one_hot, labels=[1, 2, 3])


def test_windows_that_stick_out_are_filled_with_zeros() -> None:
    data = torch.arange(1.0, 9.0).reshape(1, 2, 2, 2)
    window = window_of(data, (-1, 0, 1), size=(4, 2, 2))
    assert window.shape == (1, 4, 2, 2)
    assert window[0, 1:3, :, 0].flatten().tolist() == [2.0, 4.0, 6.0, 8.0]
    assert float(window.sum()) == 20.0


@pytest.mark.parametrize("has_regions", [False, True])
def test_logits_and_probabilities_go_both_ways(has_regions: bool) -> None:
    probabilities = torch.tensor([[0.0, 1.0, 0.3], [1.0, 0.0, 0.7]])
    back = probabilities_of(logits_of(probabilities, has_regions=has_regions), has_regions=has_regions)
    torch.testing.assert_close(back, probabilities, atol=1e-6, rtol=0)


@pytest.mark.parametrize("labels", ["plain", "regions"])
def test_a_thin_tube_is_resampled_as_probabilities(labels: str) -> None:
    """SPEC F.4: a tube of two voxels, half certain and then nothing, at a factor of 1.5."""
    plans = PlansManager(plans_with_stages("Dataset920_plain", GRIDS["isotropic"]))
    described = {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz", **LABELS[labels]}
    manager, configuration = plans.get_label_manager(described), plans.get_configuration(FINE)
    has_regions = labels == "regions"
    heads = 2 if has_regions else 3
    probabilities = torch.zeros(heads, 20, 40, 20)
    foreground = heads - 2
    probabilities[foreground, 10:12, :, 10:12] = 0.9
    if not has_regions:
        probabilities[0] = 1 - probabilities[1:].sum(0)
    new_shape = (30, 60, 30)
    properties = {
        "spacing": [1 / 1.5] * 3,
        "shape_after_cropping_and_before_resampling": new_shape,
        "shape_before_cropping": new_shape,
        "bbox_used_for_cropping": [[0, n] for n in new_shape],
    }

    def exported(manager_of_configuration: Any) -> int:
        logits = logits_of(probabilities, has_regions=has_regions)
        found = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, plans, manager_of_configuration, manager, properties, num_threads_torch=1
        )
        return int((found > 0).sum())

    resampled = configuration.resampling_fn_probabilities(
        probabilities.numpy(), new_shape, [1, 1, 1], [1 / 1.5] * 3
    )
    expected = int((manager.convert_probabilities_to_segmentation(np.asarray(resampled)) > 0).sum())
    view = ResamplesProbabilities(configuration.configuration, has_regions=has_regions)
    assert exported(pickle.loads(pickle.dumps(view))) == pytest.approx(expected, rel=0.02)
    assert abs(exported(configuration) - expected) > 0.2 * expected
