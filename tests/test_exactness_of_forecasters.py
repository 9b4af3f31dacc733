"""Segments, channels by themselves and a decoder in a pipeline: equal to a plain SegRNN."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from gru_parallel.engine.engine import WholeEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import StackModel, StepEncoder, Windows
from gru_parallel.placement.plan import Plan
from gru_parallel.schedule import SCHEDULES
from tests.builders import (
    MSE,
    TOLERANCE,
    assert_close,
    assert_gradients_close,
    gradients_of,
    make_plan,
    relative_error,
    run_engine,
    run_in_one_piece,
)
from tests.forecasters import (
    HIDDEN,
    HORIZON,
    N_CHANNELS,
    SEGMENT,
    SegRNN,
    build_forecaster,
    make_windows,
)
from tests.grids import covering

pytestmark = pytest.mark.usefixtures("little_to_collect")

GRIDS = {"uncut": (1, 1), "both ragged": (4, 3), "a cell a step and row": (3, 4)}
"""Of 6 rows, three channels of two windows, and 4 segments."""


def windows_for(grid: str) -> int:
    """How many windows; one where each step and row is a cell of its own."""
    return 1 if grid == "a cell a step and row" else 2


Step = Callable[[Tensor, Tensor, int], Tensor]
"""From windows, targets and the number of the step to its loss."""


def trained(step: Step, optimizer: torch.optim.Optimizer, n_windows: int) -> list[Tensor]:
    """Train for two steps; return their losses."""
    losses = []
    for number in range(2):
        x, y = make_windows(n_windows, seed=number)
        optimizer.zero_grad()
        loss = step(x, y, number)
        loss.backward()
        losses.append(loss.detach())
        optimizer.step()
    return losses


@covering(
    1,
    schedule=SCHEDULES,
    blocks=[[4], [2, 2], [1, 1, 1, 1]],
    grid=GRIDS,
    recompute=["none", "cell"],
    core=["native", "fused", "lean"],
)
def test_a_pipeline_trains_segrnn_as_plain_pytorch_does(
    schedule: str, blocks: list[int], grid: str, recompute: str, core: str
) -> None:
    if schedule == "zero_bubble" and core == "native":
        core = "fused"
    model = build_forecaster(core=core)
    plain = SegRNN().double()
    plain.load_from(model)
    n_windows = windows_for(grid)
    x, _ = make_windows(n_windows)
    own, of_plain = (torch.optim.Adam(m.parameters(), lr=0.01) for m in (model, plain))

    expected = trained(lambda x, y, _: (plain(x) - y).square().mean(), of_plain, n_windows)
    plan = make_plan(blocks, schedule, *GRIDS[grid], recompute=recompute)
    with ThreadEngine(model, plan, MSE) as engine:
        actual = trained(lambda x, y, n: engine.train_step(Windows(x, y), n), own, n_windows)
        predictions = engine.predict(Windows(x))

    for found, wanted in zip(actual, expected, strict=True):
        assert relative_error(found, wanted) <= 1e-10
    assert relative_error(predictions, plain(x)) <= 1e-11
    for of in (lambda p: p.grad, lambda p: p):
        theirs = plain.in_order([of(weight) for weight in plain.parameters()])
        for weight, wanted in zip(model.parameters(), theirs, strict=True):
            assert relative_error(of(weight), wanted) <= 1e-9


@covering(
    2,
    per_channel=[False, True],
    decoder=[False, True],
    schedule=SCHEDULES,
    grid=GRIDS,
    dtype=TOLERANCE,
)
def test_every_view_and_head_in_a_pipeline_equals_one_piece(
    per_channel: bool, decoder: bool, schedule: str, grid: str, dtype: torch.dtype
) -> None:
    def build() -> StackModel:
        return build_forecaster(per_channel=per_channel, decoder=decoder, dtype=dtype)

    x, y = make_windows(windows_for(grid), dtype=dtype)
    expected = run_in_one_piece(build(), x, y)

    plan = make_plan([1, 3], schedule, *GRIDS[grid])
    with ThreadEngine(build(), plan, MSE) as engine:
        actual = run_engine(engine, x, y)

    assert_close(actual, expected, TOLERANCE[dtype])


@covering(1, per_channel=[False, True], decoder=[False, True], schedule=SCHEDULES, grid=GRIDS)
def test_what_is_known_ahead_in_a_pipeline_equals_plain_pytorch(
    per_channel: bool, decoder: bool, schedule: str, grid: str
) -> None:
    def build() -> StackModel:
        return build_forecaster(per_channel=per_channel, decoder=decoder, n_known=2)

    generator = torch.Generator().manual_seed(9)
    x, y = make_windows(windows_for(grid))
    known = torch.randn(len(x), x.shape[1] + HORIZON, 2, generator=generator).double()
    before, future = known.split([x.shape[1], HORIZON], dim=1)
    windows = Windows(torch.cat([x, before], dim=2), y, future=future)
    plain, cut = build(), build()
    expected = (_with_known(plain, x, known, decoder=decoder) - y).square().mean()
    expected.backward()

    with ThreadEngine(cut, make_plan([1, 3], schedule, *GRIDS[grid]), MSE) as engine:
        found = engine.train_step(windows)
        found.backward()

    assert relative_error(found, expected) <= 1e-12
    assert_gradients_close(gradients_of(cut), gradients_of(plain), 1e-12)


def _with_known(model: StackModel, x: Tensor, known: Tensor, *, decoder: bool) -> Tensor:
    """Forecast window by window and row by row, as one would write it with `nn.GRU`."""
    encoder, gru, n_in = model.encoder, nn.GRU(HIDDEN, HIDDEN, 4).double(), x.shape[1]
    # It runs with the weights of the model, whose gradients are compared.
    weights = model.gru.state_dict(keep_vars=True)
    assert isinstance(encoder, StepEncoder)
    alone = encoder.channels is not None
    forecasts = []
    for window, of_window in zip(x, known, strict=True):
        ahead = (
            of_window[:n_in] if decoder else torch.cat([of_window[:n_in], of_window[HORIZON:]], 1)
        )
        by_row = []
        for channel in range(N_CHANNELS if alone else 1):
            values = window[:, channel : channel + 1] if alone else window
            segments = [
                torch.cat([v.flatten(), k.flatten()])
                for v, k in zip(values.split(SEGMENT), ahead.split(SEGMENT), strict=True)
            ]
            steps = encoder.linear(torch.stack(segments)).relu()
            if alone and not decoder:
                assert encoder.channels is not None
                steps = steps + encoder.channels.weight[channel]
            y, h_n = functional_call(gru, weights, (steps,))
            if not decoder:
                by_row.append(model.head.linear(y[-1]).reshape(HORIZON, -1))
                continue
            assert encoder.places is not None
            beyond = torch.cat([of_window[n_in:], torch.zeros(1, 2).double()])
            after = []
            for place, of_segment in enumerate(beyond.split(SEGMENT)):
                nothing = torch.zeros(values.shape[1] * SEGMENT).double()
                learned = [encoder.places.weight[place]]
                if encoder.channels is not None:
                    learned.append(encoder.channels.weight[channel])
                step = encoder.linear(torch.cat([nothing, of_segment.flatten()])).relu()
                step = step + torch.cat(learned)
                output, _ = functional_call(gru, weights, (step.unsqueeze(0), h_n))
                after.append(model.head.linear(output[0]).reshape(SEGMENT, -1))
            by_row.append(torch.cat(after)[:HORIZON])
        forecasts.append(torch.cat(by_row, dim=1))
    return torch.stack(forecasts)


@covering(1, schedule=SCHEDULES, grid=GRIDS, recompute=["none", "cell"])
def test_residuals_norms_and_scaled_windows_go_with_it(
    schedule: str, grid: str, recompute: str
) -> None:
    whole, cut = (build_forecaster(residual=True, norm="layer") for _ in range(2))
    x, y = make_windows(windows_for(grid))
    windows = Windows(x, y, scale=torch.rand(len(x), 1, 3).double())
    reference = WholeEngine(whole, MSE)
    expected = reference.train_step(windows)
    expected.backward()

    plan = make_plan([1, 3], schedule, *GRIDS[grid], recompute=recompute)
    with ThreadEngine(cut, plan, MSE) as engine:
        assert relative_error(engine.predict(windows), reference.predict(windows)) <= 1e-12
        found = engine.train_step(windows)
        found.backward()

    assert relative_error(found, expected) <= 1e-12
    assert_gradients_close(gradients_of(cut), gradients_of(whole), 1e-12)


@pytest.mark.parametrize("truncate", [1, 2])
@pytest.mark.parametrize("blocks", [[4], [2, 2]], ids=str)
def test_a_truncated_window_equals_a_plain_loop_with_detach(
    blocks: list[int], truncate: int
) -> None:
    model = build_forecaster()
    plain = SegRNN(cut_after=range(truncate, 4, truncate)).double()
    plain.load_from(model)
    x, y = make_windows()

    (plain(x) - y).square().mean().backward()
    with ThreadEngine(model, make_plan(blocks, "gpipe", 2, 4, truncate=truncate), MSE) as engine:
        engine.train_step(Windows(x, y)).backward()

    theirs = plain.in_order([weight.grad for weight in plain.parameters()])
    for weight, wanted in zip(model.parameters(), theirs, strict=True):
        assert weight.grad is not None
        assert relative_error(weight.grad, wanted) <= 1e-12


def train(
    plan: Plan, *, graphs: bool = False, core: str = "auto", n_windows: int = 2
) -> list[Tensor]:
    """Train for some steps with dropout; return losses, gradients and weights."""
    model = build_forecaster(dropout=0.3, dtype=torch.float32, core=core)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    seen: list[Tensor] = []
    with ThreadEngine(model, plan, MSE, seed=7, graphs=graphs) as engine:
        for step in range(5 if graphs else 2):
            x, y = make_windows(n_windows, dtype=torch.float32, seed=step)
            optimizer.zero_grad()
            loss = engine.train_step(Windows(x, y), step=step)
            loss.backward()
            seen.append(loss.detach())
            seen += [p.grad.clone() for p in model.parameters() if p.grad is not None]
            optimizer.step()
        # 22 parameters: encoder 4, layers 16, head 2.
        assert len(seen) == (5 if graphs else 2) * (1 + 22)
        assert graphs == (engine.why_not_replayed is None)
    return [*seen, *(p.detach().clone() for p in model.parameters())]


def assert_same_bits(runs: Sequence[list[Tensor]]) -> None:
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


@covering(1, schedule=SCHEDULES, grid=GRIDS, core=["auto", "lean"])
def test_bits_are_the_same_on_every_device_map_and_when_forward_runs_again(
    schedule: str, grid: str, core: str
) -> None:
    plans = [make_plan(blocks, schedule, *GRIDS[grid]) for blocks in ([4], [1, 1, 1, 1])]
    again = make_plan([1, 3], schedule, *GRIDS[grid], recompute="cell")

    n_windows = windows_for(grid)
    assert_same_bits([train(plan, core=core, n_windows=n_windows) for plan in (*plans, again)])


def test_bits_are_the_same_when_steps_are_replayed() -> None:
    plan = make_plan([2, 2], "one_f_one_b", 2, 3)
    replayed = train(plan, graphs=True)

    model = build_forecaster(dropout=0.3, dtype=torch.float32)
    with ThreadEngine(model, plan, MSE, seed=7) as engine:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for step in range(5):
            x, y = make_windows(dtype=torch.float32, seed=step)
            optimizer.zero_grad()
            engine.train_step(Windows(x, y), step=step).backward()
            optimizer.step()

    assert_same_bits([replayed[-22:], [p.detach() for p in model.parameters()]])


def test_dropout_is_that_of_one_piece_and_follows_the_last_layer_too() -> None:
    x, y = make_windows()
    whole, cut, kept = (build_forecaster(dropout=p) for p in (0.5, 0.5, 0.0))
    expected = WholeEngine(whole, MSE, seed=3).train_step(Windows(x, y), 4)
    with ThreadEngine(cut, make_plan([2, 2]), MSE, seed=3) as engine:
        found = engine.train_step(Windows(x, y), 4)

    assert relative_error(found, expected) <= 1e-12
    one_layer = build_forecaster(1, dropout=0.5)
    dropped = WholeEngine(one_layer, MSE).train_step(Windows(x, y))
    for block in one_layer.gru.gru_blocks:
        block.dropout = 0.0
    assert not torch.equal(dropped, WholeEngine(one_layer, MSE).train_step(Windows(x, y)))
    assert not torch.equal(found, WholeEngine(kept, MSE).train_step(Windows(x, y)))
