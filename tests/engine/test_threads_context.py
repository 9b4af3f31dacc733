"""The caller's autocast, grad mode and inference mode reach the blocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from gru_parallel.choices import AUTO_CORES
from gru_parallel.engine.engine import WholeEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import StackModel, Windows
from gru_parallel.schedule import Cell
from tests.builders import (
    MSE,
    assert_gradients_close,
    build_model,
    gradients_of,
    make_batch,
    make_plan,
    relative_error,
)
from tests.engine.patches import before_each_cell

BFLOAT16: dict[str, Any] = {"device_type": "cpu", "dtype": torch.bfloat16}


@contextmanager
def states_seen(model: StackModel) -> Iterator[set[tuple[bool, ...]]]:
    """Collect (autocast, recording, inference mode) as the blocks at both ends see them."""
    seen: set[tuple[bool, ...]] = set()

    def note(cell: Cell, x: Tensor) -> None:
        seen.add(
            (
                torch.is_autocast_enabled("cpu"),
                torch.is_grad_enabled(),
                torch.is_inference_mode_enabled(),
            )
        )

    with before_each_cell(model, 0, note), before_each_cell(model, 3, note):
        yield seen


def make_engine(n_micro_batches: int = 2, n_chunks: int = 3) -> ThreadEngine:
    model = build_model(dtype=torch.float32)
    return ThreadEngine(model, make_plan([1, 2, 1], "gpipe", n_micro_batches, n_chunks), MSE)


def test_training_records_and_prediction_does_not_whatever_the_caller_does() -> None:
    x, y = make_batch(dtype=torch.float32)
    with patch.dict(AUTO_CORES, clear=True), make_engine() as engine:
        with states_seen(engine.model) as seen:
            engine.train_step(Windows(x, y))
        assert seen == {(False, True, False)}
        with states_seen(engine.model) as seen:
            engine.predict(Windows(x))
        assert seen == {(False, False, False)}


def test_inference_mode_is_taken_over() -> None:
    x, _ = make_batch(dtype=torch.float32)
    with make_engine() as engine:
        with torch.inference_mode(), states_seen(engine.model) as seen:
            prediction = engine.predict(Windows(x))
        assert seen == {(False, False, True)}
        assert prediction.is_inference()
        # And given back: the next step trains.
        engine.train_step(Windows(*make_batch(dtype=torch.float32))).backward()
    assert None not in gradients_of(engine.model).values()


def test_autocast_is_taken_over_for_the_step_and_no_longer() -> None:
    x, y = make_batch(dtype=torch.float32)
    types: set[torch.dtype] = set()
    with patch.dict(AUTO_CORES, clear=True), make_engine() as engine:
        with (
            torch.autocast(**BFLOAT16),
            states_seen(engine.model) as seen,
            before_each_cell(engine.model, 0, lambda _, x: types.add(x.dtype)),
        ):
            engine.train_step(Windows(x, y))
        assert seen == {(True, True, False)}
        # The encoder before the first block is a linear layer, which autocast runs in bfloat16.
        assert types == {torch.bfloat16}
        with states_seen(engine.model) as seen:
            engine.train_step(Windows(x, y))
        assert seen == {(False, True, False)}


@pytest.mark.parametrize(("n_micro_batches", "n_chunks"), [(1, 1), (2, 3)])
def test_under_autocast_the_pipeline_equals_the_whole_model_under_autocast(
    n_micro_batches: int, n_chunks: int
) -> None:
    x, y = make_batch(dtype=torch.float32)
    # Laid out in memory as the pipeline lays out its cells, which in bfloat16 is seen in the sums.
    x = x.transpose(0, 1).contiguous().transpose(0, 1)
    expected, expected_gradients = train_whole(x, y, autocast=True)
    _, without_autocast = train_whole(x, y, autocast=False)

    with make_engine(n_micro_batches, n_chunks) as engine:
        with torch.autocast(**BFLOAT16):
            loss = engine.train_step(Windows(x, y))
        loss.backward()

    # Uncut it is the same computation; cut, sums round once a cell, in bfloat16 to eight bits.
    tolerance = 0.0 if n_micro_batches == n_chunks == 1 else 2**-6
    assert relative_error(loss, expected) <= tolerance
    assert_gradients_close(gradients_of(engine.model), expected_gradients, tolerance)
    # Float32 is off by more than nothing, so the comparison above can fail.
    with pytest.raises(AssertionError):
        assert_gradients_close(without_autocast, expected_gradients, 0.0)


def train_whole(x: Tensor, y: Tensor, *, autocast: bool) -> tuple[Tensor, dict[str, Tensor | None]]:
    model = build_model(dtype=torch.float32)
    with torch.autocast(**BFLOAT16, enabled=autocast):
        loss = WholeEngine(model, MSE).train_step(Windows(x, y))
    loss.backward()
    return loss, gradients_of(model)
