from collections.abc import Callable
from textwrap import dedent, indent

from gru_parallel.schedule import build_schedule, forward_only, simulate
from gru_parallel.schedule.naive import naive
from tests.schedule.slots import draw_slots

Draw = Callable[[str, int, int, int], str]

GRID = """\
stage 0 | 0F0.0             0F0.1                         0B0.1             0B0.0
stage 1 |       1F0.0             1F0.1             1B0.1             1B0.0
stage 2 |             2F0.0             2F0.1 2B0.1             2B0.0"""


def test_naive_has_one_cell_in_the_pipeline_at_a_time(draw: Draw) -> None:
    assert draw("naive", 3, 1, 2) == GRID


def test_the_grid_in_the_docstring_is_what_naive_does() -> None:
    assert indent(GRID, "    ") in dedent((naive.__doc__ or "").partition("\n")[2])


def test_naive_finishes_a_micro_batch_before_it_starts_the_next(draw: Draw) -> None:
    assert draw("naive", 2, 2, 1) == dedent("""\
        stage 0 | 0F0.0             0B0.0 0F1.0             0B1.0
        stage 1 |       1F0.0 1B0.0             1F1.0 1B1.0""")


def test_naive_without_backward_still_has_one_cell_at_a_time() -> None:
    timeline = simulate(forward_only(build_schedule("naive", 2, 2, 2)), lambda _: 1.0)
    assert draw_slots(timeline) == dedent("""\
        stage 0 | 0F0.0       0F0.1       0F1.0       0F1.1
        stage 1 |       1F0.0       1F0.1       1F1.0       1F1.1""")
