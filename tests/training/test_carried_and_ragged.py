"""States that go on from batch to batch, and windows of unequal length, through whole runs."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gru_parallel.data import SeriesDataModule
from gru_parallel.data.table import Table
from gru_parallel.errors import UsageError
from gru_parallel.training import SeriesModule
from tests.builders import HORIZON, MSE, N_CHANNELS, N_TARGETS, build_model, make_plan
from tests.grids import covering
from tests.runs import Run, SaveAfter, adamw, assert_bit_for_bit, assert_same_run, fit, series

GRID: dict[str, Any] = {"n_micro_batches": 2, "n_chunks": 2}
N_EPOCHS = 2
PLACEMENTS = {"one stage": [4], "two stages": [2, 2], "four stages": [1, 1, 1, 1]}
LENGTHS = (90, 50, 61)


def make_data(**options: Any) -> SeriesDataModule:
    """Three series of unequal length; every window as long as it can be, from 2 rows on."""
    values = series(sum(LENGTHS), 0)
    names = tuple(f"x{index}" for index in range(N_CHANNELS))
    ends = [sum(LENGTHS[: index + 1]) for index in range(len(LENGTHS))]
    tables = [
        Table(None, values[end - length : end], names, names[:N_TARGETS])
        for end, length in zip(ends, LENGTHS, strict=True)
    ]
    defaults: dict[str, Any] = {
        "input_length": 6,
        "horizon": HORIZON,
        "batch_size": 16,
        "split": [0.4, 0.3, 0.3],
        "centre": "none",
    }
    return SeriesDataModule(tables, **defaults | options)


def make_module(**options: Any) -> SeriesModule:
    model = build_model(dropout=0.2, dtype=torch.float32, **options)
    return SeriesModule(model, MSE, adamw)


STREAMS: dict[str, Any] = {"order": "streams", "stride": 3}
CARRY: dict[str, Any] = {"h_0": ["carry", "zeros", "learned", "carry"]}
SHORT: dict[str, Any] = {"min_input_length": 2}


def train(blocks: list[int] | None, data: dict[str, Any], **options: Any) -> Run:
    plan = None if blocks is None else make_plan(blocks, **GRID)
    kinds = {name: options.pop(name) for name in ("h_0", "every_step") if name in options}
    return fit(plan, make_module(**kinds), make_data(**data), **{"max_epochs": N_EPOCHS, **options})


@pytest.mark.parametrize(
    ("data", "model"),
    [
        pytest.param(STREAMS, CARRY, id="carried"),
        # Each of the two below has them, too.
        pytest.param(SHORT, {}, id="short windows", marks=pytest.mark.long),
        pytest.param({**STREAMS, **SHORT}, CARRY, id="carried and short"),
        pytest.param(
            {**SHORT, "task": "every_step"}, {"every_step": True}, id="short, at every step"
        ),
    ],
)
def test_a_run_is_the_same_on_every_device_map_and_as_in_one_piece(
    data: dict[str, Any], model: dict[str, Any], no_thread_left: None
) -> None:
    first, other = [train(blocks, data, **model) for blocks in ([4], [1, 2, 1])]

    assert_bit_for_bit(other, first)
    assert other.validation == first.validation
    # Dropout's random numbers depend on the grid, which one piece has none of.
    grid = {"n_micro_batches": 1, "n_chunks": 1}
    plan = make_plan([2, 2], **grid)
    uncut = fit(plan, make_module(**model), make_data(**data), max_epochs=1)
    assert_same_run(uncut, train(None, data, **model, max_epochs=1), 1e-4)


@covering(1, n_batches=[1, 3], other=PLACEMENTS)
def test_a_run_resumed_in_the_middle_of_its_streams_is_the_uninterrupted_one(
    n_batches: int, other: str, tmp_path: Path
) -> None:
    path = tmp_path / "middle.ckpt"
    whole = train([2, 2], STREAMS, **CARRY, callbacks=[SaveAfter(n_batches, path)])

    resumed = train(PLACEMENTS[other], STREAMS, **CARRY, ckpt_path=path)

    assert torch.equal(resumed.losses, whole.losses[n_batches:])
    for name, weight in whole.weights.items():
        assert torch.equal(resumed.weights[name], weight), name
    saved = torch.load(path, weights_only=True)["carried"]["training"]
    assert saved.shape[::2] == (4, 8)
    assert saved.any()


def test_the_tests_above_would_see_a_forgotten_state() -> None:
    zeros = train([2, 2], STREAMS, h_0=["zeros", "zeros", "learned", "zeros"])
    carried = train([2, 2], STREAMS, **CARRY)

    # All rows are new in the first batch of an epoch, and go on in the second.
    assert torch.equal(carried.losses[0], zeros.losses[0])
    assert not torch.equal(carried.losses[1], zeros.losses[1])


@pytest.mark.parametrize("blocks", [None, [2, 2]])
def test_no_state_is_carried_by_an_optimiser_that_runs_a_batch_more_than_once(
    blocks: list[int] | None, no_thread_left: None
) -> None:
    plan = None if blocks is None else make_plan(blocks, **GRID)
    model = build_model(dtype=torch.float32, **CARRY)

    with pytest.raises(UsageError, match=r"model\.h_0=carry .* LBFGS runs a batch several times"):
        fit(plan, SeriesModule(model, MSE, torch.optim.LBFGS), make_data(**STREAMS))
