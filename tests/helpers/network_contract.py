"""What every network of ours must do; a network's test file derives from ``NetworkContract``."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

import pytest
import torch
from arch_kwargs import REQUIRES_IMPORT, SHAPES, Shape, stages
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

from nnunet_ext.networks import UNet

EVERY_SHAPE = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)


def build(
    network: type[UNet],
    shape: Shape,
    *,
    deep_supervision: bool,
    resenc: bool = False,
    options: Mapping[str, Any] | None = None,
) -> UNet:
    """The network as nnU-Net builds it from plans, seeded."""
    torch.manual_seed(0)
    built = get_network_from_plans(
        f"{network.__module__}.{network.__qualname__}",
        {**shape.arch_kwargs(resenc=resenc), **(options or {})},
        REQUIRES_IMPORT,
        shape.input_channels,
        shape.num_classes,
        deep_supervision=deep_supervision,
    )
    assert type(built) is network
    return built


def as_list(outputs: torch.Tensor | list[torch.Tensor]) -> list[torch.Tensor]:
    return outputs if isinstance(outputs, list) else [outputs]


class NetworkContract:
    """Inherit, name the network, its options, and how many poolings it uses of a plan that has more."""

    network: ClassVar[type[UNet]]
    options: ClassVar[Mapping[str, Any]] = {}
    max_poolings: ClassVar[int] = 99

    def build(self, shape: Shape, *, deep_supervision: bool, resenc: bool = False) -> UNet:
        return build(
            self.network, shape, deep_supervision=deep_supervision, resenc=resenc, options=self.options
        )

    @EVERY_SHAPE
    def test_outputs_are_full_resolution_first_and_fit_the_scales(self, shape: Shape) -> None:
        network = self.build(shape, deep_supervision=True)
        outputs = network(shape.batch())
        assert isinstance(outputs, list)
        poolings = min(len(shape.features) - 1, self.max_poolings)
        assert len(outputs) == max(1, poolings) == len(network.deep_supervision_scales)
        for output, scales in zip(outputs, network.deep_supervision_scales, strict=True):
            expected = tuple(round(n * s) for n, s in zip(shape.image, scales, strict=True))
            assert output.shape == (2, shape.num_classes, *expected)
        assert outputs[0].shape[2:] == shape.image

    @EVERY_SHAPE
    def test_without_deep_supervision_one_tensor_and_the_same_weights(self, shape: Shape) -> None:
        supervised = self.build(shape, deep_supervision=True).eval()
        plain = self.build(shape, deep_supervision=False).eval()
        plain.load_state_dict(supervised.state_dict())
        output = plain(shape.batch())
        assert isinstance(output, torch.Tensor)
        torch.testing.assert_close(output, supervised(shape.batch())[0])
        plain.decoder.deep_supervision = True
        assert isinstance(plain(shape.batch()), list)

    @EVERY_SHAPE
    def test_every_parameter_gets_a_finite_gradient(self, shape: Shape) -> None:
        network = self.build(shape, deep_supervision=True)
        sum(output.square().mean() for output in network(shape.batch())).backward()
        without = [name for name, p in network.named_parameters() if p.grad is None]
        assert without == []
        broken = [name for name, p in network.named_parameters() if not torch.isfinite(p.grad).all()]
        assert broken == []

    @pytest.mark.parametrize("count", [1, 2, 3])
    @pytest.mark.parametrize("deep_supervision", [True, pytest.param(False, marks=pytest.mark.long)])
    def test_it_trains(self, count: int, deep_supervision: bool) -> None:
        shape = stages(count)
        network = self.build(shape, deep_supervision=deep_supervision)
        image = shape.batch(4)
        target = (image[:, :1] > 0.3).long()[:, 0]

        def loss() -> torch.Tensor:
            return nn.functional.cross_entropy(as_list(network(image))[0], target)

        before = loss_in_eval(network, loss)
        optimizer = torch.optim.Adam(network.parameters(), 1e-2)
        for _ in range(30):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        assert loss_in_eval(network, loss) < 0.7 * before

    def test_save_and_load(self, tmp_path: Any) -> None:
        shape = SHAPES[2]
        network = self.build(shape, deep_supervision=False).eval()
        torch.save(network.state_dict(), tmp_path / "weights.pth")
        torch.manual_seed(1)
        other = self.build(shape, deep_supervision=False).eval()
        nn.init.normal_(next(other.parameters()))
        other.load_state_dict(torch.load(tmp_path / "weights.pth"))
        assert torch.equal(network(shape.batch()), other(shape.batch()))

    def test_pickle_and_deepcopy(self) -> None:
        network = self.build(SHAPES[0], deep_supervision=False).eval()
        for clone in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
            assert torch.equal(network(SHAPES[0].batch()), clone(SHAPES[0].batch()))

    @pytest.mark.parametrize(
        ("shape", "deep_supervision"),
        [(SHAPES[0], False), (SHAPES[2], True)],
        ids=lambda value: getattr(value, "name", str(value)),
    )
    def test_compiles_without_a_graph_break(self, shape: Shape, deep_supervision: bool) -> None:
        network = self.build(shape, deep_supervision=deep_supervision).eval()
        torch._dynamo.reset()
        compiled = torch.compile(network, fullgraph=True, backend="eager")
        for plain, fast in zip(
            as_list(network(shape.batch())), as_list(compiled(shape.batch())), strict=True
        ):
            torch.testing.assert_close(plain, fast)

    @EVERY_SHAPE
    @pytest.mark.parametrize("deep_supervision", [True, False])
    def test_feature_map_size_counts_what_convolutions_produce(
        self, shape: Shape, deep_supervision: bool
    ) -> None:
        network = self.build(shape, deep_supervision=deep_supervision).eval()
        produced = []
        convolutions = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
        for module in network.modules():
            if isinstance(module, convolutions):
                module.register_forward_hook(lambda _m, _i, output: produced.append(prod(output.shape[1:])))
        network(shape.batch(1))
        assert network.compute_conv_feature_map_size(shape.image) == sum(produced)

    @EVERY_SHAPE
    def test_pretraining_keys_name_what_reads_the_image(self, shape: Shape) -> None:
        network = self.build(shape, deep_supervision=False).eval()
        image = shape.batch()
        readers = set()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                module.register_forward_pre_hook(
                    lambda m, inputs: readers.add(m) if inputs[0] is image else None
                )
        network(image)
        assert readers
        # Every name of a module, since checkpoints hold them all.
        names = {name for name, m in network.named_modules(remove_duplicate=False) if m in readers}
        assert names == set(network.keys_to_in_proj)
        assert network.key_to_stem.startswith(network.key_to_encoder)
        for key in (network.key_to_encoder, network.key_to_stem):
            network.get_submodule(key)

    @pytest.mark.parametrize("shape", SHAPES[:3], ids=lambda shape: shape.name)
    def test_reads_resenc_plans(self, shape: Shape) -> None:
        network = self.build(shape, deep_supervision=False, resenc=True)
        assert network(shape.batch()).shape == (2, shape.num_classes, *shape.image)

    def test_refuses_a_size_that_pooling_would_cut(self) -> None:
        network = self.build(SHAPES[1], deep_supervision=False)
        with pytest.raises(ValueError, match=r"multiple of \(4, 4, 4\).*got \(9, 12, 16\)"):
            network(torch.zeros(1, 1, 9, 12, 16))
        with pytest.raises(ValueError, match="multiple of"):
            network.compute_conv_feature_map_size((8, 12, 15))

    def test_eval_is_deterministic(self) -> None:
        network = self.build(SHAPES[1], deep_supervision=False).eval()
        assert torch.equal(network(SHAPES[1].batch()), network(SHAPES[1].batch()))


def loss_in_eval(network: nn.Module, loss: Any) -> float:
    network.eval()
    with torch.no_grad():
        value = float(loss())
    network.train()
    return value
