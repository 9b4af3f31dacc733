"""Outputs of several numbers in a pipeline: equal to one piece, on every cut and to the bit."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gru_parallel.engine.engine import WholeEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import OUTPUTS, GRUStack, Output, StackModel, SumLoss, Windows
from gru_parallel.model.head import HEADS
from gru_parallel.model.output import output_named
from gru_parallel.placement import Plan
from gru_parallel.schedule import SCHEDULES
from gru_parallel.stage.own_code import foreign_code
from tests.builders import (
    HIDDEN,
    HORIZON,
    N_CHANNELS,
    N_TARGETS,
    TOLERANCE,
    WIDTH,
    assert_gradients_close,
    gradients_of,
    make_plan,
    relative_error,
)
from tests.forecasters import HIDDEN as WIDTH_OF_FORECASTER
from tests.forecasters import HORIZON as HORIZON_OF_FORECASTER
from tests.forecasters import SEGMENT, build_forecaster
from tests.grids import covering

pytestmark = pytest.mark.usefixtures("no_thread_left", "little_to_collect")

LEVELS = (0.1, 0.5, 0.6)
GRIDS = {"uncut": (1, 1), "ragged": (4, 3)}
"""Of 6 rows and some steps."""

KINDS = ("window", "every_step", "decoder, per channel")


def build(name: str, kind: str, dtype: torch.dtype = torch.float64) -> tuple[StackModel, SumLoss]:
    """Build a model of an output, with its loss."""
    torch.manual_seed(0)
    output = output_named(name, LEVELS)
    assert output.loss is not None
    if kind.startswith("decoder"):
        model = build_forecaster(per_channel=True, decoder=True, dtype=dtype)
        sizes = WIDTH_OF_FORECASTER, HORIZON_OF_FORECASTER, output.n_numbers, SEGMENT
        model.head = type(model.head).for_forecast(*sizes).to(dtype)
        model.output = output
        return model, output.loss
    return _plain(output, kind, dtype), output.loss


def _plain(output: Output, kind: str, dtype: torch.dtype) -> StackModel:
    stack = GRUStack(WIDTH, HIDDEN, 4)
    head = HEADS[kind].for_forecast(HIDDEN, HORIZON, N_TARGETS * output.n_numbers)
    return StackModel(nn.Linear(N_CHANNELS, WIDTH), stack, head, output=output).to(dtype)


def make(kind: str, dtype: torch.dtype = torch.float64, seed: int = 0) -> Windows:
    """Make windows whose targets are counts, which are numbers, too."""
    generator = torch.Generator().manual_seed(seed)
    n_rows, n_steps, n_targets = (2, 8, 3) if kind.startswith("decoder") else (6, 7, N_TARGETS)
    n_ahead = n_steps if kind == "every_step" else HORIZON
    x = torch.randn(n_rows, n_steps, N_CHANNELS, generator=generator, dtype=dtype)
    y = torch.randint(9, (n_rows, n_ahead, n_targets), generator=generator).to(dtype)
    scale = torch.rand(n_rows, 1, n_targets, generator=generator, dtype=dtype) + 0.5
    lengths = torch.tensor([7, 2, 5, 1, 6, 3]) if kind == "every_step" else None
    return Windows(x, y, lengths, scale=scale)


@covering(
    2,
    name=OUTPUTS,
    kind=KINDS,
    schedule=SCHEDULES,
    grid=GRIDS,
    recompute=["none", "cell"],
    dtype=TOLERANCE,
)
def test_a_pipeline_equals_one_piece(
    name: str, kind: str, schedule: str, grid: str, recompute: str, dtype: torch.dtype
) -> None:
    whole, loss = build(name, kind, dtype)
    windows = make(kind, dtype)
    reference = WholeEngine(whole, loss)
    wanted = reference.predict(windows)
    expected = reference.train_step(windows)
    expected.backward()

    cut, loss = build(name, kind, dtype)
    plan = make_plan([1, 3], schedule, *GRIDS[grid], recompute=recompute)
    with ThreadEngine(cut, plan, loss) as engine:
        found = engine.predict(windows)
        actual = engine.train_step(windows)
        actual.backward()

    assert found.shape[-1] == whole.output.n_numbers
    assert relative_error(found, wanted) <= TOLERANCE[dtype]
    assert relative_error(actual, expected) <= TOLERANCE[dtype]
    assert_gradients_close(gradients_of(cut), gradients_of(whole), TOLERANCE[dtype])


def train(plan: Plan, name: str, kind: str, **options: Any) -> list[Tensor]:
    """Train for some steps; return losses and weights."""
    model, loss = build(name, kind, torch.float32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    with ThreadEngine(model, plan, loss, **options) as engine:
        for step in range(3):
            optimizer.zero_grad()
            windows = replace(make(kind, torch.float32, seed=step), lengths=None)
            found = engine.train_step(windows, step)
            found.backward()
            losses.append(found.detach())
            optimizer.step()
        if options.get("graphs"):
            assert engine.why_not_replayed is None
    return [*losses, *(weight.detach() for weight in model.parameters())]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("quantile", "decoder, per channel"),
        ("normal", "every_step"),
        ("negative_binomial", "window"),
    ],
)
def test_bits_are_the_same_on_every_device_map_and_when_steps_are_replayed(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gru_parallel.engine.graphs.N_EAGER", 1)
    expected = train(make_plan([4], "gpipe", 2, 2), name, kind)

    for blocks, options in (([1, 3], {}), ([1, 1, 1, 1], {}), ([2, 2], {"graphs": True})):
        found = train(make_plan(blocks, "gpipe", 2, 2), name, kind, **options)
        assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_pipeline_of_them_is_no_code_of_the_users_own(name: str) -> None:
    model, loss = build(name, "window")
    assert foreign_code([model.head], loss) is None
