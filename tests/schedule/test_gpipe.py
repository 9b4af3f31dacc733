from collections.abc import Callable
from textwrap import dedent, indent

from gru_parallel.schedule.gpipe import gpipe

Draw = Callable[[str, int, int, int], str]

GRID = """\
stage 0 | 0F0.0 0F0.1 0F1.0 0F1.1                         0B0.1 0B0.0 0B1.1 0B1.0
stage 1 |       1F0.0 1F0.1 1F1.0 1F1.1             1B0.1 1B0.0 1B1.1 1B1.0
stage 2 |             2F0.0 2F0.1 2F1.0 2F1.1 2B0.1 2B0.0 2B1.1 2B1.0"""


def test_gpipe_runs_all_forwards_then_all_backwards(draw: Draw) -> None:
    assert draw("gpipe", 3, 2, 2) == GRID


def test_the_grid_in_the_docstring_is_what_gpipe_does() -> None:
    assert indent(GRID, "    ") in dedent((gpipe.__doc__ or "").partition("\n")[2])


def test_chunks_alone_fill_the_pipeline_of_one_micro_batch(draw: Draw) -> None:
    assert draw("gpipe", 2, 1, 3) == dedent("""\
        stage 0 | 0F0.0 0F0.1 0F0.2             0B0.2 0B0.1 0B0.0
        stage 1 |       1F0.0 1F0.1 1F0.2 1B0.2 1B0.1 1B0.0""")


def test_gpipe_on_one_stage_has_no_idle_slot(draw: Draw) -> None:
    assert draw("gpipe", 1, 2, 1) == "stage 0 | 0F0.0 0F1.0 0B0.0 0B1.0"
