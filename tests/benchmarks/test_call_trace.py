import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.call_trace import Trace, listing, report
from tests.benchmarks.traced.walker import Walker, double, walk_in_a_thread

WALKED = ["Walker.walk", "Walker.step", "Walker.step.<locals>.nested", "double"]


def trace_of(work: Callable[[], object]) -> Trace:
    trace = Trace(Path(__file__).parent / "traced")
    try:
        double(0)
        with trace.recording():
            work()
        walk_in_a_thread()
    finally:
        trace.close()
    return trace


def names_in(trace: Trace) -> list[str]:
    return [function.name for function in trace.functions]


def test_functions_are_counted_once_without_comprehensions_and_lambdas() -> None:
    trace = trace_of(Walker().walk)
    assert names_in(trace) == WALKED
    assert trace.classes == {("walker.py", "Walker")}


def test_calls_of_other_threads_are_seen() -> None:
    assert names_in(trace_of(walk_in_a_thread)) == ["walk_in_a_thread", *WALKED]


def test_the_depth_is_that_of_one_thread() -> None:
    # The deepest is walk, step, nested, double.
    assert trace_of(Walker().walk).depth == 4
    # A thread has none of its starter's frames.
    assert trace_of(walk_in_a_thread).depth == 4


def test_functions_are_listed_by_file() -> None:
    trace = trace_of(lambda: double(1))
    assert listing(trace) == "walker.py\n    double"
    assert report(trace, 1) == "1 files, 1 functions (1 with backward), 0 classes, 1 calls deep"


def test_a_training_step_goes_through_no_more_than_a_reader_can_hold_in_mind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["trace", "--list"]) == 0
    printed = capsys.readouterr().out
    for name in ("PipelineEngine.train_step", "GRUBlock.forward", "_Release.backward"):
        assert name in printed
    n_files, _, n_functions, n_classes, depth = map(
        int, re.findall(r"\d+", printed.splitlines()[-1])
    )
    # Six of the files, and the deepest calls, are how a layer computes.
    assert n_files <= 22
    assert n_functions <= 140
    assert n_classes <= 22
    assert depth <= 15
