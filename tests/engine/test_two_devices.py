"""A bidirectional block may have a second device, on which its reverse direction runs."""

import threading

import pytest
import torch
from torch import Tensor

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import UsageError
from gru_parallel.model import Windows
from gru_parallel.model.bidirectional import REVERSE
from tests.builders import MSE, build_model, gradients_of, make_batch, make_plan
from tests.engine.patches import WAIT_S, before_each_direction

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_thread_left")]

DEVICES = ["cpu:0+cpu:2", "cpu:1+cpu:3"]


def train(devices: list[str] | None, lengths: list[int] | None = None) -> list[Tensor | None]:
    model = build_model(bidirectional=True, dropout=0.3, dtype=torch.float32)
    plan = make_plan([2, 2], "one_f_one_b", 2, 3, devices=devices)
    own = None if lengths is None else torch.tensor(lengths)
    with ThreadEngine(model, plan, MSE, seed=3) as engine:
        loss = engine.train_step(Windows(*make_batch(dtype=torch.float32), lengths=own))
        loss.backward()
        prediction = engine.predict(Windows(make_batch(dtype=torch.float32)[0], lengths=own))
    return [loss.detach(), prediction, *gradients_of(model).values()]


@pytest.mark.parametrize("lengths", [None, [3, 7, 1, 7, 2]], ids=["whole", "unequal"])
def test_results_are_bit_for_bit_those_of_one_device(lengths: list[int] | None) -> None:
    for found, expected in zip(train(DEVICES, lengths), train(None, lengths), strict=True):
        assert found is not None
        assert expected is not None
        assert torch.equal(found, expected)


def test_both_directions_run_at_once() -> None:
    model = build_model(bidirectional=True)
    both = threading.Barrier(2)

    def wait_for_the_other(layer: int, direction: int) -> None:
        if layer == 0:
            # One after the other, neither direction would end.
            both.wait(WAIT_S)

    with (
        before_each_direction(wait_for_the_other),
        ThreadEngine(model, make_plan([2, 2], devices=DEVICES), MSE) as engine,
    ):
        engine.train_step(Windows(*make_batch()))

    assert not both.broken


def test_an_error_on_the_second_device_reaches_the_caller() -> None:
    model = build_model(bidirectional=True)

    def fail(layer: int, direction: int) -> None:
        if (layer, direction) == (2, REVERSE):
            raise ZeroDivisionError("by hand")

    with ThreadEngine(model, make_plan([2, 2], devices=DEVICES), MSE) as engine:
        with before_each_direction(fail), pytest.raises(ZeroDivisionError) as caught:
            engine.train_step(Windows(*make_batch()))
        assert "stage 1 on cpu:1+cpu:3 ran 1F0.0" in caught.value.__notes__[0]
        engine.train_step(Windows(*make_batch()))


def test_a_second_device_for_blocks_of_one_direction_is_refused() -> None:
    with pytest.raises(UsageError, match="give it one device"):
        ThreadEngine(build_model(), make_plan([1, 3], devices=["cpu:0+cpu:2", "cpu:1"]), MSE)
