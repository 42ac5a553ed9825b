"""SPEC F.12 and nnU-Net's contract for losses: focal loss in the place of cross-entropy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import nn

from nnunet_ext.losses import (
    BinaryFocalLoss,
    FocalLoss,
    focal_weighted,
    with_dice_smoothing,
    with_focal,
    without_cross_entropy,
    without_dice,
)

IGNORED = 3
# nnU-Net sums Dice, and takes the binary cross-entropy of regions, in float32 whatever it is given.
ATOL = 1e-6
SIZE = (5, 6, 7)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def softmax_loss(*, ignore: bool = False, batch_dice: bool = False) -> DC_and_CE_loss:
    return DC_and_CE_loss(
        {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": False, "ddp": False},
        {},
        ignore_label=IGNORED if ignore else None,
        dice_class=MemoryEfficientSoftDiceLoss,
    )


def region_loss(*, ignore: bool = False, batch_dice: bool = False) -> DC_and_BCE_loss:
    return DC_and_BCE_loss(
        {},
        {"batch_dice": batch_dice, "do_bg": True, "smooth": 1e-5, "ddp": False},
        use_ignore_label=ignore,
        dice_class=MemoryEfficientSoftDiceLoss,
    )


KINDS = [
    pytest.param(kind, ignore, batch_dice, id=f"{kind.__name__}-ignore={ignore}-batch={batch_dice}")
    for kind in (softmax_loss, region_loss)
    for ignore in (False, True)
    for batch_dice in (False, True)
]


def case(kind: Any, *, ignore: bool, size: tuple[int, ...] = SIZE) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and a target as nnU-Net's loader gives it: float labels, or 0/1 channels with ignore last."""
    logits = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    if kind is softmax_loss:
        return logits, torch.randint(0, 4 if ignore else 3, (2, 1, *size)).double()
    return logits, torch.randint(0, 2, (2, 4 if ignore else 3, *size)).double()


@pytest.mark.parametrize(("kind", "ignore", "batch_dice"), KINDS)
def test_gamma_0_is_nnunet_s_loss(kind: Any, ignore: bool, batch_dice: bool) -> None:
    logits, target = case(kind, ignore=ignore)
    plain = kind(ignore=ignore, batch_dice=batch_dice)
    expected = plain(logits, target)
    focal = with_focal(kind(ignore=ignore, batch_dice=batch_dice), weight=1.0, gamma=0.0)
    found = focal(logits, target)
    torch.testing.assert_close(found, expected, rtol=0, atol=ATOL)
    ours, theirs = (torch.autograd.grad(loss, logits)[0] for loss in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=ATOL)


@pytest.mark.parametrize(("kind", "ignore", "batch_dice"), KINDS)
@pytest.mark.parametrize("weight", [0.1, 0.5])
def test_the_sum_of_its_parts(kind: Any, ignore: bool, batch_dice: bool, weight: float) -> None:
    logits, target = case(kind, ignore=ignore)
    dice = without_cross_entropy(kind(ignore=ignore, batch_dice=batch_dice))(logits, target)
    focal = written_out(logits, target, kind=kind, ignore=ignore)
    compound = with_focal(kind(ignore=ignore, batch_dice=batch_dice), weight=weight)
    expected = (dice + weight * focal).to(compound(logits, target).dtype)
    torch.testing.assert_close(compound(logits, target), expected, rtol=0, atol=ATOL)


def written_out(logits: torch.Tensor, target: torch.Tensor, *, kind: Any, ignore: bool) -> torch.Tensor:
    """The formula on probabilities, voxel by voxel, with gamma 2."""
    if kind is softmax_loss:
        labels = target[:, 0].long()
        counts = labels != IGNORED
        probabilities = logits.softmax(1).movedim(1, -1)[counts]
        p = probabilities.gather(1, labels[counts][:, None])[:, 0]
        return (-((1 - p) ** 2) * p.log()).mean()
    regions = target[:, :3]
    p = torch.where(regions == 1, logits.sigmoid(), 1 - logits.sigmoid())
    each = -((1 - p) ** 2) * p.log()
    if not ignore:
        return each.mean()
    counts = 1 - target[:, 3:]
    return (each * counts).sum() / counts.sum()


def test_a_voxel_of_probability_0_9_weighs_a_hundredth() -> None:
    cross_entropy = -torch.tensor(0.9, dtype=torch.float64).log()
    assert float(focal_weighted(cross_entropy) / cross_entropy) == pytest.approx(0.01)


@pytest.mark.parametrize("kind", [softmax_loss, region_loss])
def test_ignored_voxels_do_not_matter(kind: Any) -> None:
    logits, target = case(kind, ignore=True)
    loss = with_focal(kind(ignore=True), weight=0.5)
    ignored = (target == IGNORED) if kind is softmax_loss else target[:, 3:] == 1
    changed = torch.where(ignored, logits + torch.randn_like(logits), logits)
    torch.testing.assert_close(loss(changed, target), loss(logits, target))
    loss(logits, target).backward()
    assert float((logits.grad * ignored).abs().max()) == 0


@pytest.mark.parametrize("kind", [softmax_loss, region_loss])
def test_everything_ignored_is_finite(kind: Any) -> None:
    logits, target = case(kind, ignore=True)
    target = torch.full_like(target, IGNORED if kind is softmax_loss else 1)
    loss = with_focal(kind(ignore=True), weight=0.5)(logits, target)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits(gamma: float, dtype: torch.dtype) -> None:
    """Certain and right, certain and wrong: neither may give a NaN."""
    target = torch.tensor([[0.0, 1.0]])
    for sign in (1, -1):
        logits = (100.0 * sign * torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]])).to(dtype).requires_grad_()
        loss = FocalLoss(gamma=gamma)(logits, target)
        binary = BinaryFocalLoss(gamma=gamma)(logits, torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=dtype))
        (loss + binary).backward()
        for value in (loss, binary):
            assert float(value.detach()) == pytest.approx(
                0.0 if sign == 1 else (200.0 if value is loss else 100.0)
            )
        assert torch.isfinite(logits.grad).all()


def test_perfect_prediction_has_dice_loss_minus_1() -> None:
    """nnU-Net's Dice loss is the negative Dice; the papers add 1."""
    target = torch.randint(0, 3, (2, 1, *SIZE)).double()
    logits = 1000 * nn.functional.one_hot(target[:, 0].long(), 3).movedim(-1, 1).double()
    assert float(without_cross_entropy(softmax_loss())(logits, target)) == pytest.approx(-1, abs=1e-4)


@pytest.mark.parametrize("smooth", [1e-5, 1.0])
def test_smoothing_of_dice_is_equation_3_of_paper_000(smooth: float) -> None:
    """(2 sum Y P + 1) / (sum Y + sum P + 1), of each patch and class alone."""
    logits, target = case(softmax_loss, ignore=False)
    loss = with_dice_smoothing(without_cross_entropy(softmax_loss()), smooth)
    p = logits.softmax(1)[:, 1:].flatten(2)
    y = nn.functional.one_hot(target[:, 0].long(), 3).movedim(-1, 1)[:, 1:].flatten(2)
    dice = (2 * (y * p).sum(2) + smooth) / (y.sum(2) + p.sum(2) + smooth)
    assert float(loss(logits, target).detach()) == pytest.approx(-float(dice.mean().detach()), abs=ATOL)
    # A patch without vessels that is rightly found empty: all but perfect in the paper, worthless in nnU-Net.
    nothing = torch.zeros_like(target)
    certain = torch.zeros(2, 3, *SIZE, dtype=torch.float64)
    certain[:, 0] = 8.0
    assert (float(loss(certain, nothing)) < -0.8) == (smooth == 1)


def test_smoothing_leaves_alone_what_has_no_dice() -> None:
    loss = without_dice(softmax_loss())
    assert with_dice_smoothing(loss, 1.0) is loss
    assert not hasattr(loss.dc, "smooth")


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_gradcheck(gamma: float) -> None:
    logits = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 4, (1, 2, 3)).double()
    regions = torch.randint(0, 2, (1, 3, 2, 3)).double()
    softmax = FocalLoss(gamma=gamma, ignore_index=IGNORED)
    assert torch.autograd.gradcheck(lambda x: softmax(x, labels), (logits,))
    binary = BinaryFocalLoss(gamma=gamma)
    assert torch.autograd.gradcheck(lambda x: binary(x, regions), (logits,))


@pytest.mark.parametrize(("kind", "ignore", "batch_dice"), KINDS[::2])
def test_compiles_without_a_graph_break(kind: Any, ignore: bool, batch_dice: bool) -> None:
    logits, target = case(kind, ignore=ignore, size=(4, 4))
    loss = with_focal(kind(ignore=ignore, batch_dice=batch_dice), weight=0.5)
    torch._dynamo.reset()
    compiled = torch.compile(loss.ce, fullgraph=True, backend="eager")
    arguments = (logits, target[:, 0] if kind is softmax_loss else target[:, :3])
    torch.testing.assert_close(compiled(*arguments), loss.ce(*arguments))


def test_under_deep_supervision() -> None:
    logits, target = case(softmax_loss, ignore=False)
    wrapped = DeepSupervisionWrapper(softmax_loss(), [0.75, 0.25])
    single = with_focal(softmax_loss(), weight=0.1)(logits, target)
    assert with_focal(wrapped, weight=0.1) is wrapped
    torch.testing.assert_close(wrapped([logits, logits], [target, target]), single)


@pytest.mark.parametrize("change", [lambda loss: with_focal(loss, weight=1), without_cross_entropy])
def test_another_loss_is_refused(change: Any) -> None:
    with pytest.raises(TypeError, match=r"expected nnU-Net's Dice \+ cross-entropy loss, got L1Loss"):
        change(nn.L1Loss())


@pytest.mark.parametrize("kind", [FocalLoss, BinaryFocalLoss])
def test_a_negative_gamma_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match="gamma must be 0 or more, got -1"):
        kind(gamma=-1)
