"""Every way of running a step, on the CPU; what only a GPU has is stood in for."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.gpu import measure as measuring
from benchmarks.gpu import subjects
from benchmarks.gpu.cases import QUICK, Case, Precision, Way, cases
from benchmarks.gpu.clock import CPUClock, CUDAClock, timed_steps
from benchmarks.gpu.measure import count_launches, measure
from benchmarks.gpu.numbers import Reading
from benchmarks.gpu.steps import MAX_STEPS, MIN_STEPS, RANK_STEPS
from benchmarks.gpu.subjects import (
    EAGER_STEPS,
    LoneStage,
    WholeGraph,
    WholeGRU,
    check_replayed,
    make_subject,
)
from tests.cudnn_stand_in import refuse_what_cudnn_refuses

CPUS = ("cpu:0", "cpu:1")
ON_CPUS = [
    case for case in cases(QUICK, 2) if case.way not in (Way.NN_GRAPH, Way.PEER, Way.LAUNCHES)
]
SMALL = QUICK.targets[0]
PLAIN = Case(Way.NN_GRU, SMALL, Precision.TF32)


def a_third() -> list[Any]:
    """All of them: with each number type another third is ordinary, the rest `long`."""
    found = []
    for first, precision in enumerate(Precision):
        of_it = [case for case in ON_CPUS if case.precision is precision]
        for place, case in enumerate(of_it, first):
            marks = [pytest.mark.long] if place % 3 else []
            found.append(pytest.param(case, id=f"{precision}, {case.name}", marks=marks))
    return found


@pytest.mark.usefixtures("no_thread_left")
@pytest.mark.parametrize("case", a_third())
def test_a_case_is_read(case: Case) -> None:
    reading = measure(case, CPUS, 0.0)

    assert isinstance(reading, Reading), reading
    assert len(reading.steps_ms) == len(reading.queue_ms) == MIN_STEPS
    assert all(0 < q <= s for q, s in zip(reading.queue_ms, reading.steps_ms, strict=True))
    assert reading.peak_bytes is None
    assert len(reading.cells_ms) == (case.n_chunks if case.way is Way.STAGE else 0)
    assert all(f_ms > 0 and b_ms > 0 for f_ms, b_ms in reading.cells_ms)


@pytest.mark.gpu
# Of nn.GRU in bfloat16, as people call it.
@pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous chunk")
@pytest.mark.parametrize("case", cases(QUICK, 1), ids=lambda case: f"{case.precision}, {case.name}")
def test_a_case_is_read_on_a_gpu(case: Case) -> None:
    reading = measure(case, ("cuda:0",), 0.0)

    assert isinstance(reading, Reading), reading
    if case.way is Way.LAUNCHES:
        assert reading.launches
    else:
        assert len(reading.steps_ms) == MIN_STEPS
        assert reading.peak_bytes
        assert reading.held_bytes is not None


def test_a_case_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("by hand\nand more")

    monkeypatch.setattr(measuring, "make_subject", fail)
    assert measure(PLAIN, CPUS, 0.0) == "ValueError: by hand"


def test_a_case_that_fails_says_why_where_its_gpu_can_do_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken(CPUClock):
        is_broken = False

        def clear(self) -> None:
            if self.is_broken:
                raise RuntimeError("nothing can be waited for")

    clock = Broken()

    def fail(*_: object) -> None:
        clock.is_broken = True
        raise ValueError("an illegal access")

    monkeypatch.setattr(measuring, "make_clock", lambda _: clock)
    monkeypatch.setattr(measuring, "make_subject", fail)
    assert measure(PLAIN, CPUS, 0.0) == "ValueError: an illegal access"


def test_a_case_that_was_to_be_replayed_and_was_not_fails() -> None:
    engine = SimpleNamespace(why_not_replayed="a hook")
    with pytest.raises(RuntimeError, match="it ran without graphs: a hook"):
        check_replayed(engine)
    engine.why_not_replayed = None
    check_replayed(engine)


def test_a_case_that_needs_too_much_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(measuring, "make_subject", fail)
    assert measure(PLAIN, CPUS, 0.0) == "out of memory"


def test_steps_are_measured_for_a_while_but_never_too_few_or_too_many() -> None:
    for seconds, n_steps in ((0.0, MIN_STEPS), (60.0, MAX_STEPS)):
        assert len(timed_steps(CPUClock(), lambda: None, seconds)) == n_steps


def test_ranks_meet_before_each_of_a_fixed_number_of_steps() -> None:
    order: list[str] = []
    timed_steps(CPUClock(), lambda: order.append("step"), 0.0, lambda: order.append("meet"))
    assert order == ["meet", "step"] * RANK_STEPS


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_a_step_of_which_no_launches_are_seen_is_a_failure() -> None:
    calls: list[int] = []
    with pytest.raises(RuntimeError, match="the profiler saw no launches"):
        count_launches(lambda: calls.append(1), CPUClock())
    assert calls == [1]


def test_cells_are_timed_when_the_step_before_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    case = next(case for case in ON_CPUS if case.way is Way.STAGE)
    stage = LoneStage(case, "cpu:0")
    step = stage.step

    def noted() -> None:
        order.append("step")
        step()

    monkeypatch.setattr(stage, "step", noted)
    stage.cells_ms(lambda: order.append("wait"))
    stage.close()
    assert order == ["wait", "step"] * MIN_STEPS


def test_the_weights_of_the_peer_in_a_graph_lie_in_one_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # torch itself passes over bfloat16, and cuDNN would copy them in each replay.
    monkeypatch.setattr(subjects, "WholeGraph", lambda whole: whole)
    case = Case(Way.NN_GRAPH, SMALL, Precision.BFLOAT16)
    with refuse_what_cudnn_refuses() as calls:
        make_subject(case, CPUS).step()
    assert [call.dtype for call in calls] == [torch.bfloat16]


class FakeGraph:
    """Stands in for a CUDA graph: runs again what ran while it was captured."""

    def __init__(self) -> None:
        self.n_replays = 0
        self.is_reset = False

    def replay(self) -> None:
        self.n_replays += 1

    def reset(self) -> None:
        self.is_reset = True


class FakeStream:
    def wait_stream(self, other: object) -> None:
        """There is nothing to wait for."""


def test_a_captured_step_has_warmed_up_and_begins_without_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = WholeGRU(PLAIN, "cpu:0")
    seen: list[str] = []

    @contextmanager
    def graph(_: FakeGraph, stream: FakeStream) -> Iterator[None]:
        assert all(parameter.grad is None for parameter in whole.parameters)
        seen.append("capture")
        yield
        seen.append("captured")

    @contextmanager
    def on_stream(stream: FakeStream) -> Iterator[None]:
        yield

    run = whole.forward_and_backward

    def noted() -> None:
        seen.append("step")
        run()

    stand_ins: dict[str, Any] = {
        "Stream": FakeStream,
        "current_stream": FakeStream,
        "stream": on_stream,
        "CUDAGraph": FakeGraph,
        "graph": graph,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(whole, "forward_and_backward", noted)

    captured = WholeGraph(whole)
    captured.step()

    assert seen == [*["step"] * EAGER_STEPS, "capture", "step", "captured"]
    assert all(parameter.grad is not None for parameter in whole.parameters)


def test_memory_is_counted_above_what_was_there_and_on_the_gpu_with_the_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, peak, after = {0: 5, 1: 50}, {0: 105, 1: 80}, {0: 25, 1: 90}
    reserved = before
    waited: list[int] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda d: waited.append(d.index))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda d: before[d.index])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda d: peak[d.index])
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda d: reserved[d.index])
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None, raising=False)

    clock = CUDAClock([torch.device("cuda", index) for index in (0, 1)])
    clock.clear()
    reserved = after

    assert (clock.peak_bytes(), clock.held_bytes()) == (100, 40)
    assert waited == [0, 1] * 2
