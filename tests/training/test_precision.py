"""Mixed precision through the pipeline: the stages' threads cast as the caller's would."""

from functools import cache, partial
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor

from gru_parallel.errors import UsageError
from gru_parallel.training import SeriesModule
from gru_parallel.training.module import Batch
from tests.builders import MSE, SMALL_MSE, build_model, make_plan, relative_error
from tests.cudnn_stand_in import refuse_what_cudnn_refuses
from tests.runs import Run, assert_bit_for_bit, assert_same_run, fit, make_module, sgd

ONE_STEP: dict[str, Any] = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 1}


class TimeFirstModule(SeriesModule):
    """Lays each batch out in memory as the stages do.

    In bf16 the CPU's matrix products round differently for another layout of the same numbers.
    """

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return super().training_step(time_first(batch), batch_idx)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        super().validation_step(time_first(batch), batch_idx)


def time_first(batch: Batch) -> Batch:
    return batch | {"x": batch["x"].transpose(0, 1).contiguous().transpose(0, 1)}


def test_bf16_mixed_equals_one_device_where_the_batch_is_not_cut(no_thread_left: None) -> None:
    plan = make_plan([1, 2, 1])
    model = build_model(dtype=torch.float32)

    options: dict[str, Any] = {"precision": "bf16-mixed", "max_epochs": 1}
    pipelined = fit(plan, **options)
    single = fit(None, TimeFirstModule(model, MSE, sgd), **options)

    assert_same_run(pipelined, single, 1e-5)
    assert not torch.equal(single.losses, fit(None, max_epochs=1).losses)


@cache
def on_one_device() -> Run:
    return fit(None, precision="bf16-mixed", max_epochs=1)


@pytest.mark.parametrize("shape", [(1, 4), (3, 1), (2, 3)], ids=str)
def test_bf16_mixed_stays_within_its_own_rounding_of_one_device(shape: tuple[int, int]) -> None:
    plan = make_plan([1, 2, 1], "gpipe", *shape)
    pipelined = fit(plan, precision="bf16-mixed", max_epochs=1)

    assert_same_run(pipelined, on_one_device(), 5e-3)


def test_bf16_mixed_is_bit_for_bit_the_same_for_every_device_map() -> None:
    first, *others = (
        fit(make_plan(cut, "one_f_one_b", 2, 3), precision="bf16-mixed", max_epochs=1)
        for cut in ([4], [1, 3], [1, 1, 1, 1])
    )

    for other in others:
        assert_bit_for_bit(other, first)


@pytest.mark.parametrize("is_pipelined", [True, False], ids=["pipeline", "one device"])
def test_bf16_mixed_computes_every_cell_in_bfloat16(is_pipelined: bool) -> None:
    plan = make_plan([1, 2, 1], "one_f_one_b", 2, 3) if is_pipelined else None
    with refuse_what_cudnn_refuses() as calls:
        fit(plan, precision="bf16-mixed", **ONE_STEP)

    assert {call.dtype for call in calls} == {torch.bfloat16}


class Gradients(pl.Callback):
    """Keeps the gradients of the last step, as the optimiser gets them."""

    def __init__(self) -> None:
        self.found: dict[str, Tensor] = {}

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        named = pl_module.named_parameters()
        self.found = {name: w.grad.clone() for name, w in named if w.grad is not None}


def scaled(init_scale: float) -> MixedPrecision:
    """Make what precision=16-mixed is on a GPU; on a CPU, Lightning takes bfloat16 for it."""
    scaler = torch.amp.GradScaler("cpu", init_scale=init_scale)
    return MixedPrecision("16-mixed", "cpu", scaler)


def gradients_of_a_small_loss(plugins: list[MixedPrecision], **options: Any) -> dict[str, Tensor]:
    """Train one step; return the gradients as the optimiser gets them."""
    module = SeriesModule(build_model(dtype=torch.float32), SMALL_MSE, sgd)
    gradients = Gradients()
    plan = make_plan([1, 2, 1], "one_f_one_b", 2, 3)
    fit(plan, module, callbacks=[gradients], plugins=plugins, **ONE_STEP | options)
    return gradients.found


@pytest.mark.parametrize("accumulated", [1, 2])
def test_16_mixed_scales_the_loss_before_its_gradients_are_computed(accumulated: int) -> None:
    options = {"accumulate_grad_batches": accumulated, "limit_train_batches": accumulated}
    expected = gradients_of_a_small_loss([], **options)
    found = gradients_of_a_small_loss([scaled(2.0**18)], **options)

    assert {gradient.dtype for gradient in found.values()} == {torch.float32}
    for name, gradient in expected.items():
        assert relative_error(found[name], gradient) <= 2**-5, name


def test_16_mixed_leaves_out_a_step_whose_gradients_overflow() -> None:
    plugin = scaled(2.0**60)

    run = fit(make_plan([1, 2, 1]), plugins=[plugin], **ONE_STEP)

    assert all(torch.equal(run.weights[name], w) for name, w in run.initial_weights.items())
    assert plugin.scaler is not None
    assert plugin.scaler.get_scale() == 2.0**59


@pytest.mark.parametrize("algorithm", ["norm", "value"])
@pytest.mark.parametrize("is_pipelined", [True, False], ids=["pipeline", "one device"])
def test_gradients_that_a_fused_optimiser_is_yet_to_unscale_are_not_clipped(
    algorithm: str, is_pipelined: bool
) -> None:
    module = make_module(partial(torch.optim.AdamW, fused=True))
    plan = make_plan([1, 2, 1]) if is_pipelined else None
    clip: dict[str, Any] = {"gradient_clip_val": 1.0, "gradient_clip_algorithm": algorithm}

    with pytest.raises(UsageError, match=r"gradient_clip_val=1\.0 .* leave out optimizer\.fused"):
        fit(plan, module, plugins=[scaled(2.0**18)], **clip, **ONE_STEP)


def test_a_fused_optimiser_clips_where_nothing_is_scaled_and_scales_where_nothing_is_clipped() -> (
    None
):
    for options in ({"gradient_clip_val": 1.0}, {"plugins": [scaled(2.0**18)]}):
        module = make_module(partial(torch.optim.AdamW, fused=True))
        run = fit(make_plan([1, 2, 1]), module, **ONE_STEP | options)

        assert any(not torch.equal(run.weights[n], w) for n, w in run.initial_weights.items())
