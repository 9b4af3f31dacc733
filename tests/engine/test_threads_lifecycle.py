"""Workers come and go: open, close, open again, and engines that nobody closes."""

import gc
import threading
from collections.abc import Iterator
from threading import Thread

import pytest
import torch
from torch import Tensor

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import Windows
from gru_parallel.schedule import Cell
from tests.builders import MSE, build_model, make_batch, make_plan
from tests.engine.patches import before_each_cell, failing_forward

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_thread_left")]


def make_engine() -> ThreadEngine:
    return ThreadEngine(build_model(), make_plan([1, 1, 2], "one_f_one_b", 2, 3), MSE)


def workers() -> list[str]:
    names = (thread.name for thread in threading.enumerate())
    return sorted(name for name in names if name.startswith("gru_parallel"))


WORKERS = [f"gru_parallel stage {stage} (cpu:{stage})" for stage in range(3)]


def test_an_engine_has_a_named_worker_a_stage_from_its_first_call_until_it_is_closed() -> None:
    engine = make_engine()
    assert workers() == []

    engine.predict(Windows(make_batch()[0]))
    assert workers() == WORKERS
    engine.train_step(Windows(*make_batch()))
    assert workers() == WORKERS

    engine.close()
    assert workers() == []


def test_a_closed_engine_opens_again_and_computes_the_same() -> None:
    engine = make_engine()
    losses: list[Tensor] = []
    for _ in range(3):
        with engine:
            assert workers() == WORKERS
            losses.append(engine.train_step(Windows(*make_batch())).detach())
        assert workers() == []

    assert torch.equal(losses[1], losses[0])
    assert torch.equal(losses[2], losses[0])


def test_opening_and_closing_twice_is_opening_and_closing() -> None:
    engine = make_engine()
    engine.close()
    engine.open()
    engine.open()
    assert workers() == WORKERS
    engine.close()
    engine.close()
    assert workers() == []


def test_a_step_that_fails_inside_with_still_closes() -> None:
    engine = make_engine()

    with (
        pytest.raises(ZeroDivisionError),
        failing_forward(engine.model, 1, (0, 1), ZeroDivisionError()),
        engine,
    ):
        engine.train_step(Windows(*make_batch()))

    assert workers() == []


@pytest.mark.parametrize("failed", [False, True])
def test_an_engine_that_is_dropped_ends_its_workers(failed: bool) -> None:
    engine = make_engine()
    engine.train_step(Windows(*make_batch())).backward()
    if failed:
        fail = failing_forward(engine.model, 1, (0, 1), ZeroDivisionError())
        with fail, pytest.raises(ZeroDivisionError):
            engine.train_step(Windows(*make_batch()))
    threads = [thread for thread in threading.enumerate() if thread.name in WORKERS]
    assert len(threads) == 3

    del engine
    gc.collect()

    for thread in threads:
        thread.join(10)
    assert workers() == []


def test_several_engines_run_side_by_side() -> None:
    x, y = make_batch()
    with make_engine() as one, make_engine() as other:
        assert len(workers()) == 6
        losses = [engine.train_step(Windows(x, y)) for engine in (one, other, one)]

    assert losses[0] == losses[1] == losses[2]


@pytest.fixture
def three_intra_op_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def count_of_a_new_thread() -> int:
    counts: list[int] = []
    thread = Thread(target=lambda: counts.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return counts[0]


@pytest.mark.usefixtures("three_intra_op_threads")
def test_workers_use_one_intra_op_thread_and_the_process_has_its_count_back_after_them() -> None:
    seen: set[int] = set()

    def note(cell: Cell, x: Tensor) -> None:
        seen.add(torch.get_num_threads())

    assert count_of_a_new_thread() == 3
    engine = make_engine()
    for _ in range(2):
        with (
            before_each_cell(engine.model, 0, note),
            before_each_cell(engine.model, 3, note),
            engine,
        ):
            engine.train_step(Windows(*make_batch()))

        assert seen == {1}
        assert torch.get_num_threads() == 3
        assert count_of_a_new_thread() == 3
