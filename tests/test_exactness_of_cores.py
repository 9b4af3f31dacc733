"""Every core through a pipeline: against nn.GRU, and to the bit over placements and schedules."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gru_parallel.choices import CORES
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import StackModel, Windows
from gru_parallel.placement import Plan
from tests.builders import (
    CUTS_OF_4,
    MSE,
    TOLERANCE,
    assert_gradients_close,
    build_model,
    gradients_of,
    make_batch,
    make_plan,
    relative_error,
)
from tests.grids import covering

OWN = ("fused", "lean")
LENGTHS = torch.tensor([1, 7, 3, 7, 2])

# By what is special about each: the model, the plan and the batch.
WHOLE: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "uncut": ({}, {"blocks_of_stages": [4]}, {}),
    "both ragged": ({}, {"schedule": "gpipe", "n_micro_batches": 2, "n_chunks": 3}, {}),
    "a cell a step and row": (
        {"every_step": True},
        {"schedule": "naive", "n_micro_batches": 5, "n_chunks": 7},
        {},
    ),
    "unequal lengths": (
        {"h_0": "learned"},
        {"schedule": "zero_bubble", "n_micro_batches": 2, "n_chunks": 3},
        {"lengths": LENGTHS},
    ),
    "both ways": (
        {"bidirectional": [False, True, False, True]},
        {"schedule": "zero_bubble", "n_micro_batches": 3},
        {"lengths": LENGTHS},
    ),
    "on two devices": (
        {"bidirectional": True},
        {"devices": ["cpu:0+cpu:1", "cpu:2+cpu:3"], "n_micro_batches": 2},
        {},
    ),
    "previous": (
        {"h_0": ["learned", "previous", "zeros", "previous"]},
        {"schedule": "zero_bubble", "n_micro_batches": 2, "n_chunks": 4},
        {},
    ),
    "two layers a block": (
        {"layers_per_block": 2, "bias": False},
        {"schedule": "zero_bubble", "n_chunks": 3, "blocks_of_stages": [1, 1]},
        {},
    ),
    "float32": (
        {"dtype": torch.float32},
        {"schedule": "zero_bubble", "n_micro_batches": 2, "n_chunks": 3},
        {},
    ),
}
CUT: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "dropout": ({"dropout": 0.3}, {"n_micro_batches": 2, "n_chunks": 3}, {}),
    "dropout within a block": (
        {"dropout": 0.3, "layers_per_block": 2},
        {"n_chunks": 3, "blocks_of_stages": [1, 1]},
        {"lengths": LENGTHS},
    ),
    "residuals and norms": (
        {"dropout": 0.3, "layers_per_block": 2, "residual": True, "norm": "layer"},
        {"n_chunks": 3, "blocks_of_stages": [1, 1], "schedule": "zero_bubble"},
        {},
    ),
    "truncated": ({"every_step": True}, {"n_chunks": 7, "truncate": 2}, {}),
    "carried": ({"h_0": "carry"}, {"n_micro_batches": 2, "n_chunks": 2}, {}),
}
"""What depends on how a batch is cut, or on the batch before."""


def plan_for(core: str, plan: dict[str, Any], layers_per_block: int) -> Plan:
    """Make a plan; `native` cannot leave the weights' gradients for later."""
    if core == "native" and plan.get("schedule") == "zero_bubble":
        plan = plan | {"schedule": "one_f_one_b"}
    return make_plan(**plan, layers_per_block=layers_per_block)


def trained(
    core: str, options: dict[str, Any], plan: dict[str, Any], batch: dict[str, Any]
) -> tuple[Tensor, dict[str, Tensor | None]]:
    """Train two batches without clearing gradients in between; return both losses and the sums."""
    model = build_model(**options, core=core)
    dtype, every_step = model.encoder.weight.dtype, model.head.every_step
    losses = []
    layers_per_block = options.get("layers_per_block", 1)
    with ThreadEngine(model, plan_for(core, plan, layers_per_block), MSE, seed=7) as engine:
        for step in range(2):
            x, y = make_batch(dtype=dtype, every_step=every_step, seed=step)
            losses.append(engine.train_step(Windows(x, y, **batch), step))
            losses[-1].backward()
    return torch.stack(losses).detach(), in_order(model)


def in_order(model: StackModel) -> dict[str, Tensor | None]:
    """Number the gradients: where blocks have several layers, their names depend on the core."""
    return {str(k): gradient for k, gradient in enumerate(gradients_of(model).values())}


@covering(1, case=WHOLE, core=[core for core in CORES if core != "auto"])
def test_a_core_in_a_pipeline_equals_nn_gru_in_one_piece(core: str, case: str) -> None:
    options, plan, batch = WHOLE[case]
    whole = build_model(**options, core="native")
    dtype, every_step = whole.encoder.weight.dtype, whole.head.every_step
    expected = []
    for step in range(2):
        x, y = make_batch(dtype=dtype, every_step=every_step, seed=step)
        expected.append(nn.functional.mse_loss(whole.run(x, **batch)[0], y))
        expected[-1].backward()

    losses, gradients = trained(core, options, plan, batch)

    assert relative_error(losses, torch.stack(expected)) <= TOLERANCE[dtype]
    assert_gradients_close(gradients, in_order(whole), TOLERANCE[dtype])


@pytest.mark.parametrize("case", CUT)
@pytest.mark.parametrize("core", OWN)
def test_a_core_equals_native_however_a_batch_is_cut(core: str, case: str) -> None:
    options, plan, batch = CUT[case]
    expected_losses, expected = trained("native", options, plan, batch)

    losses, gradients = trained(core, options, plan, batch)

    assert relative_error(losses, expected_losses) <= TOLERANCE[torch.float64]
    assert_gradients_close(gradients, expected, TOLERANCE[torch.float64])


@covering(
    1,
    lengths=[None, tuple(LENGTHS.tolist())],
    options=[{"dropout": 0.3}, {"bidirectional": [False, True, False, False], "h_0": "learned"}],
    core=["native", *OWN],
)
def test_a_core_computes_the_same_bits_on_every_device_map_and_in_every_schedule(
    core: str, options: dict[str, Any], lengths: tuple[int, ...] | None
) -> None:
    options = options | {"dtype": torch.float32}
    cut = {"n_micro_batches": 2, "n_chunks": 3}
    batch = {"lengths": None if lengths is None else torch.tensor(lengths)}
    losses, expected = trained(core, options, {"blocks_of_stages": [4], **cut}, batch)

    for blocks, schedule in zip(CUTS_OF_4, ("gpipe", "zero_bubble") * 3, strict=False):
        plan = {"blocks_of_stages": blocks, "schedule": schedule, **cut}
        other_losses, gradients = trained(core, options, plan, batch)
        assert torch.equal(other_losses, losses)
        assert_gradients_close(gradients, expected, 0.0)
