"""Small models, plans and batches that the tests of model, engine and training share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import (
    LOSSES,
    GRUStack,
    StackModel,
    StepHead,
    SumLoss,
    WindowHead,
    Windows,
)
from gru_parallel.placement import Grid, Plan, StagePlan

MSE = LOSSES["mse"]
SMALL_MSE = SumLoss("small", lambda *pair: 1e-7 * MSE.total(*pair), MSE.count)
"""A loss whose gradients are 0 in float16, unless they are scaled."""

N_CHANNELS, WIDTH, HIDDEN = 3, 6, 8
HORIZON, N_TARGETS = 5, 2

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
"""How far a result may be off, relative to the largest entry of what it is compared with."""

CUTS_OF_4 = ([4], [2, 2], [1, 3], [3, 1], [1, 1, 1, 1])
"""Blocks per stage: every kind of device map of four blocks."""


def build_model(
    num_layers: int = 4,
    layers_per_block: int = 1,
    *,
    every_step: bool = False,
    dropout: float = 0.0,
    dtype: torch.dtype = torch.float64,
    seed: int = 1,
    **options: Any,
) -> StackModel:
    """Build a model with a linear encoder; the same seed gives the same weights for any cut.

    Options are those of `GRUStack`. Learned states and norms are drawn, too: zeros and ones would
    hide much.
    """
    torch.manual_seed(seed)
    stack = GRUStack(WIDTH, HIDDEN, num_layers, layers_per_block, dropout=dropout, **options)
    width = stack.output_size
    head = StepHead(width, N_TARGETS) if every_step else WindowHead(width, (HORIZON, N_TARGETS))
    for block in stack.gru_blocks:
        for name in block.learned_names:
            nn.init.uniform_(getattr(block, name))
    for name, weight in stack.named_parameters():
        if ".norm_" in name:
            nn.init.uniform_(weight, 0.5, 1.5)
    return StackModel(nn.Linear(N_CHANNELS, WIDTH), stack, head).to(dtype)


def make_plan(
    blocks_of_stages: Sequence[int] = (2, 2),
    schedule: str = "one_f_one_b",
    n_micro_batches: int = 1,
    n_chunks: int = 1,
    *,
    num_layers: int | None = None,
    layers_per_block: int = 1,
    devices: Sequence[str] | None = None,
    truncate: int | None = None,
    recompute: str = "none",
) -> Plan:
    """Make a plan with so many blocks on each stage, on logical CPU devices by default.

    A device like "cpu:0+cpu:1" runs the reverse direction of bidirectional blocks on the second.
    """
    stages = []
    first_block = 0
    for index, n_blocks in enumerate(blocks_of_stages):
        device, *reverse = (f"cpu:{index}" if devices is None else devices[index]).split("+")
        stages.append(StagePlan(device, first_block, n_blocks, *reverse))
        first_block += n_blocks
    if num_layers is None:
        num_layers = first_block * layers_per_block
    grid = Grid(layers_per_block, schedule, n_micro_batches, n_chunks, truncate, recompute)
    return Plan(num_layers, grid, tuple(stages))


def make_batch(
    batch_size: int = 5,
    n_steps: int = 7,
    *,
    every_step: bool = False,
    dtype: torch.dtype = torch.float64,
    seed: int = 2,
) -> tuple[Tensor, Tensor]:
    """Make windows x and targets y for a model of `build_model`."""
    generator = torch.Generator().manual_seed(seed)
    shape = (n_steps, N_TARGETS) if every_step else (HORIZON, N_TARGETS)
    x = torch.randn(batch_size, n_steps, N_CHANNELS, generator=generator, dtype=dtype)
    y = torch.randn(batch_size, *shape, generator=generator, dtype=dtype)
    return x, y


@dataclass(frozen=True)
class Result:
    """What one training step and one prediction come to."""

    loss: Tensor
    predictions: Tensor
    gradients: dict[str, Tensor | None]


def gradients_of(model: nn.Module) -> dict[str, Tensor | None]:
    """Copy every parameter's `.grad` by the parameter's name."""
    return {
        name: None if parameter.grad is None else parameter.grad.detach().cpu().clone()
        for name, parameter in model.named_parameters()
    }


def run_in_one_piece(model: StackModel, x: Tensor, y: Tensor) -> Result:
    """Train and predict as plain PyTorch does, with the mean of the squared errors."""
    predictions = model(x)
    loss = nn.functional.mse_loss(predictions, y)
    loss.backward()
    return Result(loss.detach(), predictions.detach(), gradients_of(model))


def run_engine(engine: ThreadEngine, x: Tensor, y: Tensor) -> Result:
    """Predict and then train one step with an engine that has a model."""
    predictions = engine.predict(Windows(x))
    loss = engine.train_step(Windows(x, y))
    loss.backward()
    return Result(loss.detach(), predictions, gradients_of(engine.model))


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the largest entry of `expected`."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    largest = expected.abs().max().item()
    error = (actual.detach().cpu() - expected.detach().cpu()).abs().max().item()
    return error / largest if largest > 0 else error


def assert_close(actual: Result, expected: Result, tolerance: float) -> None:
    """Compare loss, predictions and every gradient with one tolerance."""
    assert relative_error(actual.loss, expected.loss) <= tolerance
    assert relative_error(actual.predictions, expected.predictions) <= tolerance
    assert_gradients_close(actual.gradients, expected.gradients, tolerance)


def assert_gradients_close(
    actual: dict[str, Tensor | None], expected: dict[str, Tensor | None], tolerance: float
) -> None:
    """Compare gradients by name; one that is None on one side is None on the other."""
    assert list(actual) == list(expected)
    for name, wanted in expected.items():
        found = actual[name]
        if wanted is None or found is None:
            assert found is wanted, name
        else:
            assert relative_error(found, wanted) <= tolerance, name
