"""The command from its options to its tables, with the processes stood in for."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import pytest

from benchmarks.__main__ import main
from benchmarks.gpu import command
from benchmarks.gpu.budget import Budget
from benchmarks.gpu.cards import Cards
from benchmarks.gpu.cases import Case, Way
from benchmarks.gpu.command import Crews
from benchmarks.gpu.measure import measure
from benchmarks.gpu.numbers import Reading
from gru_parallel.errors import UsageError
from tests.benchmarks.gpu_numbers import EAGER

MADE_UP_MS = 7.0


class Inline:
    """A crew without processes; of the peer, which needs some, it makes a reading up.

    Attributes:
        measures: whether it does measure the others.
    """

    measures: ClassVar[bool] = True
    made: ClassVar[list["Inline"]] = []
    answers: ClassVar[list[Reading | str | None]] = []

    def __init__(self, devices: Sequence[str], seconds: float, n_ranks: int) -> None:
        self.devices, self.seconds, self.n_ranks = devices, seconds, n_ranks
        self.is_stopped = False
        self.made.append(self)

    def wait_until_ready(self) -> bool:
        return True

    def measure(self, case: Case, timeout_s: float) -> Reading | str | None:
        assert not self.is_stopped
        if self.answers:
            return self.answers.pop(0)
        if case.way is Way.PEER or not self.measures:
            cells = [(MADE_UP_MS, MADE_UP_MS)] * case.n_chunks if case.way is Way.STAGE else []
            return Reading((MADE_UP_MS,), (MADE_UP_MS,), cells_ms=tuple(cells))
        return measure(case, self.devices, self.seconds)

    def stop(self) -> None:
        self.is_stopped = True


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> type[Inline]:
    monkeypatch.setattr(Inline, "made", [])
    monkeypatch.setattr(Inline, "answers", [])
    monkeypatch.setattr(command, "Crew", Inline)
    return Inline


@pytest.mark.parametrize("measures", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.usefixtures("no_thread_left")
def test_a_quick_run_on_the_cpu_measures_every_way_that_a_cpu_has(
    measures: bool, inline: type[Inline], capsys: pytest.CaptureFixture[str]
) -> None:
    inline.measures = measures

    assert main(["gpu", "--quick", "--device", "cpu"]) == 0

    out = capsys.readouterr().out
    for name in ("nn.GRU", "S=1 C=4, in graphs", "S=2 C=4 on one GPU, without graphs"):
        assert f"{name}: " in out
    for name in ("S=2 C=4 on 2 GPUs", "predicted, not measured", "torch pipelining S=2 M=2"):
        assert name in out
    assert {crew.n_ranks for crew in Inline.made} == {1, 2}
    assert all(crew.is_stopped for crew in Inline.made)


def test_without_time_everything_is_left_out_and_said_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["gpu", "--quick", "--device", "cpu", "--minutes", "0"]) == 0

    assert "Left out for want of time: 33 of 33 cases" in capsys.readouterr().out
    assert not Inline.made


def test_without_a_gpu_the_command_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(kind: str) -> Cards:
        raise UsageError(f"no {kind}")

    monkeypatch.setattr(command, "cards_of", none)
    assert main(["gpu"]) == 2
    assert "no cuda" in capsys.readouterr().err


def test_an_error_in_brackets_is_printed_as_it_is(
    inline: type[Inline], capsys: pytest.CaptureFixture[str]
) -> None:
    inline.measures = False
    why_not = "RuntimeError: [/gloo/pair.cc:547] Connection closed by peer [rank0]"
    Inline.answers = [why_not]

    assert main(["gpu", "--quick", "--device", "cpu"]) == 0

    out = capsys.readouterr().out
    assert f"nn.GRU: {why_not}" in out
    # As it happened, and in a table.
    assert out.count("[rank0]") == 2


def test_nothing_is_timed_where_a_profiler_has_run() -> None:
    reading = Reading((1.0,), (1.0,))
    Inline.answers = [reading, reading]
    with Crews(("cuda:0",), 0.0) as crews:
        crews.measure(replace(EAGER, way=Way.LAUNCHES), Budget(1.0, lambda: 0.0))
        crews.measure(EAGER, Budget(1.0, lambda: 0.0))

    assert len(Inline.made) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [(None, "it died, or took more than 1 s"), ("out of memory", "out of memory")],
)
def test_after_a_failure_the_next_case_gets_a_process_that_works(
    answer: str | None, words: str
) -> None:
    reading = Reading((1.0,), (1.0,))
    Inline.answers = [answer, reading]
    with Crews(("cuda:0",), 0.0) as crews:
        assert crews.measure(EAGER, Budget(1.0, lambda: 0.0)) == words
        assert crews.measure(EAGER, Budget(1.0, lambda: 0.0)) == reading

    assert [crew.is_stopped for crew in Inline.made] == [True, True]
