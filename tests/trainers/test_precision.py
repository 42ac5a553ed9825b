"""Where bfloat16 is used: the network's forward pass in training, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunet_ext.trainers import precision
from nnunet_home import NnunetHome
from torch import nn
from trainer_factory import make_trainer, read_log

OURS = "nnUNetTrainerRASUNet_1epochs_1iters"
VANILLA = "nnUNetTrainer_1epochs_1iters"


class Recorder(nn.Module):
    """Stands in front of a loss and notes the dtype of the logits that it sees."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        self.seen: list[torch.dtype] = []

    def forward(self, outputs: Any, targets: Any) -> Any:
        self.seen += [o.dtype for o in (outputs if isinstance(outputs, list) else [outputs])]
        return self.loss(outputs, targets)


def dtypes(trainer: Any) -> dict[str, set[torch.dtype]]:
    """Dtypes at the first convolution's output and at the loss, in each of the four paths."""
    trainer.initialize()
    trainer.on_train_start()
    recorder = trainer.loss = Recorder(trainer.loss)
    convolutions: list[torch.dtype] = []
    first = next(m for m in trainer.network.modules() if isinstance(m, nn.Conv2d | nn.Conv3d))
    first.register_forward_hook(lambda _m, _i, output: convolutions.append(output.dtype))
    found: dict[str, set[torch.dtype]] = {}

    def note(path: str) -> None:
        found[f"{path}: convolution"], found[f"{path}: loss"] = set(convolutions), set(recorder.seen)
        convolutions.clear()
        recorder.seen.clear()

    trainer.on_train_epoch_start()
    trainer.train_step(next(trainer.dataloader_train))
    note("training")
    with torch.no_grad():
        trainer.on_validation_epoch_start()
        trainer.validation_step(next(trainer.dataloader_val))
    note("validation")
    predictor = _predictor(trainer)
    image = torch.zeros(1, *trainer.configuration_manager.patch_size)
    logits = predictor.predict_sliding_window_return_logits(image)
    note("final validation")
    assert logits.dtype in (torch.float16, torch.float32)
    return found


def _predictor(trainer: Any) -> Any:
    """The predictor of ``perform_actual_validation``, which is also that of ``nnUNetv2_predict``."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        None,
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    return predictor


def expected(training: torch.dtype) -> dict[str, set[torch.dtype]]:
    return {
        "training: convolution": {training},
        "training: loss": {torch.float32},
        "validation: convolution": {training},
        "validation: loss": {torch.float32},
        "final validation: convolution": {torch.float32},
        "final validation: loss": set(),
    }


@pytest.mark.parametrize(
    ("name", "variable", "training"),
    [
        (OURS, "1", torch.bfloat16),
        (OURS, "0", torch.float32),
        (OURS, "", torch.bfloat16 if precision.cpu_computes_bfloat16() else torch.float32),
        (VANILLA, "1", torch.bfloat16),
        (VANILLA, "0", torch.float32),
        (VANILLA, "", torch.float32),
    ],
)
def test_dtype_at_the_first_convolution_and_at_the_loss(
    preprocessed: NnunetHome,
    name: str,
    variable: str,
    training: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = make_trainer(preprocessed, name, dataset="Dataset901_plain", monkeypatch=monkeypatch)
    monkeypatch.setenv(precision.VARIABLE, variable)
    assert dtypes(trainer) == expected(training)
    said = f"Forward pass of training in {'bfloat16' if training is torch.bfloat16 else 'float32'}"
    assert (said in read_log(trainer)) == (name == OURS or training is torch.bfloat16)


@pytest.mark.parametrize("capable", [True, False])
def test_the_log_tells_where_bfloat16_is_only_emulated(
    preprocessed: NnunetHome, capable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cpu_computes_bfloat16", lambda: capable)
    trainer = make_trainer(preprocessed, VANILLA, dataset="Dataset901_plain", monkeypatch=monkeypatch)
    monkeypatch.setenv(precision.VARIABLE, "1")
    trainer.on_train_start()
    assert ("This CPU only emulates bfloat16" in read_log(trainer)) is not capable


def test_stock_prediction_from_the_model_folder_is_float32(
    preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fourth path, ``nnUNetv2_predict``: a network that the trainer's class builds from the folder."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer = make_trainer(preprocessed, OURS, dataset="Dataset901_plain", monkeypatch=monkeypatch)
    monkeypatch.setenv(precision.VARIABLE, "1")
    trainer.run_training()
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,))
    seen: list[torch.dtype] = []
    for module in predictor.network.modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_hook(lambda _m, _i, output: seen.append(output.dtype))
    predictor.predict_sliding_window_return_logits(
        torch.zeros(1, *predictor.configuration_manager.patch_size)
    )
    assert set(seen) == {torch.float32}


def test_no_wrapped_function_reaches_a_checkpoint_or_stays_behind(
    preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(preprocessed, OURS, dataset="Dataset901_plain", monkeypatch=monkeypatch)
    monkeypatch.setenv(precision.VARIABLE, "1")
    trainer.run_training()
    assert "forward" not in vars(trainer.network)
    checkpoint = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", weights_only=False)
    assert {type(v) for v in checkpoint["network_weights"].values()} == {torch.Tensor}
    assert {v.dtype for v in checkpoint["network_weights"].values()} == {torch.float32}
    torch._dynamo.reset()
    compiled = torch.compile(trainer.network.eval(), fullgraph=True, backend="eager")
    trainer.set_deep_supervision_enabled(False)
    image = torch.zeros(1, 1, *trainer.configuration_manager.patch_size)
    assert compiled(image).dtype == torch.float32


def test_a_step_that_fails_leaves_the_network_as_it_was() -> None:
    network = nn.Conv2d(1, 1, 1)
    with pytest.raises(RuntimeError, match="expected input"), precision.bfloat16_forward(network):
        network(torch.zeros(1, 2, 4, 4))
    assert "forward" not in vars(network)


def test_outputs_of_deep_supervision_are_float32() -> None:
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [self.conv(x), self.conv(x[..., ::2, ::2])]

    network = TwoHeads()
    with precision.bfloat16_forward(network):
        outputs = network(torch.ones(1, 1, 4, 4))
    assert isinstance(outputs, list)
    assert [o.dtype for o in outputs] == [torch.float32] * 2


@pytest.mark.parametrize(("value", "wanted"), [("1", True), ("0", False)])
def test_the_variable_decides(value: str, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(precision.VARIABLE, value)
    assert precision.bfloat16_is_wanted(by_default=True) is wanted
    assert precision.bfloat16_is_wanted(by_default=False) is wanted


@pytest.mark.parametrize("capable", [True, False])
def test_unset_depends_on_the_cpu_and_the_trainer(capable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(precision.VARIABLE, raising=False)
    monkeypatch.setattr(precision, "cpu_computes_bfloat16", lambda: capable)
    assert precision.bfloat16_is_wanted(by_default=True) is capable
    assert precision.bfloat16_is_wanted(by_default=False) is False


def test_another_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(precision.VARIABLE, "yes")
    with pytest.raises(ValueError, match=r"nnUNet_ext_bfloat16 must be 0 .* got 'yes'"):
        precision.bfloat16_is_wanted(by_default=True)


def test_a_cpu_without_the_probes_is_not_believed_capable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert precision.cpu_computes_bfloat16() is False


def test_bfloat16_is_close_to_float32(preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(preprocessed, OURS, dataset="Dataset901_plain", monkeypatch=monkeypatch)
    trainer.initialize()
    network = trainer.network.eval()
    image = torch.randn(1, 1, *trainer.configuration_manager.patch_size)
    with torch.no_grad():
        full = network(image)[0]
        with precision.bfloat16_forward(network):
            half = network(image)[0]
    np.testing.assert_allclose(half, full, atol=0.05 * float(full.abs().max()))
