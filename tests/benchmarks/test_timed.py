from argparse import ArgumentParser
from io import StringIO

import pytest
from rich.console import Console

from benchmarks import timed
from benchmarks.samples import ShapeRun
from benchmarks.shapes import Shape
from benchmarks.speed import SPEED
from benchmarks.summary import ShapeSummary
from tests.benchmarks.rounds import VARIANTS, a_round

TWO_SHAPES = ("--shape", "8,4,16,4", "--shape", "16,4,16,4")


def measured(*arguments: str) -> tuple[list[ShapeSummary], str]:
    parser = ArgumentParser()
    SPEED.add_options(parser)
    parser.set_defaults(quick=False)
    written = StringIO()
    console = Console(width=200, file=written)
    return list(SPEED.measure(parser.parse_args(arguments), console)), written.getvalue()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Hidden sizes at which a worker fails."""
    sizes: set[int] = set()

    def measure(shape: Shape, *_: object) -> ShapeRun:
        if shape.hidden_size in sizes:
            raise RuntimeError("the worker of nn.GRU 1 thread ended with exit status 1")
        return ShapeRun(shape, VARIANTS, (a_round(),), 1)

    monkeypatch.setattr(timed, "measure", measure)
    return sizes


def test_progress_is_printed_shape_by_shape(failing: set[int]) -> None:
    summaries, printed = measured(*TWO_SHAPES)
    assert [own.shape.hidden_size for own in summaries] == [8, 16]
    assert "1 of 2: H=8, B=4, T=16, L=4: 1 rounds of 3 variants in 0 s" in printed


def test_a_shape_at_which_a_worker_fails_is_left_out(failing: set[int]) -> None:
    failing.add(8)
    summaries, printed = measured(*TWO_SHAPES)
    assert [own.shape.hidden_size for own in summaries] == [16]
    assert "1 of 2: H=8, B=4, T=16, L=4: left out, since the worker of nn.GRU" in printed


def test_workers_that_fail_at_every_shape_are_an_error(failing: set[int]) -> None:
    failing |= {8, 16}
    with pytest.raises(RuntimeError, match="exit status 1"):
        measured(*TWO_SHAPES)
