from collections.abc import Callable
from textwrap import dedent, indent

from gru_parallel.schedule.one_f_one_b import one_f_one_b

Draw = Callable[[str, int, int, int], str]

GRID = """\
stage 0 | 0F0.0 0F1.0 0F2.0             0B0.0 0F3.0 0B1.0       0B2.0       0B3.0
stage 1 |       1F0.0 1F1.0       1B0.0 1F2.0 1B1.0 1F3.0 1B2.0       1B3.0
stage 2 |             2F0.0 2B0.0 2F1.0 2B1.0 2F2.0 2B2.0 2F3.0 2B3.0"""


def test_1f1b_answers_every_forward_with_a_backward_after_the_warm_up(draw: Draw) -> None:
    assert draw("one_f_one_b", 3, 4, 1) == GRID


def test_the_grid_in_the_docstring_is_what_1f1b_does() -> None:
    assert indent(GRID, "    ") in dedent((one_f_one_b.__doc__ or "").partition("\n")[2])


def test_1f1b_keeps_the_chunks_of_a_micro_batch_together(draw: Draw) -> None:
    assert draw("one_f_one_b", 2, 2, 2) == dedent("""\
        stage 0 | 0F0.0 0F0.1 0F1.0 0F1.1 0B0.1 0B0.0             0B1.1 0B1.0
        stage 1 |       1F0.0 1F0.1 1B0.1 1B0.0 1F1.0 1F1.1 1B1.1 1B1.0""")


def test_1f1b_with_fewer_micro_batches_than_stages_warms_up_with_all_of_them(draw: Draw) -> None:
    assert draw("one_f_one_b", 3, 2, 1) == dedent("""\
        stage 0 | 0F0.0 0F1.0                   0B0.0       0B1.0
        stage 1 |       1F0.0 1F1.0       1B0.0       1B1.0
        stage 2 |             2F0.0 2B0.0 2F1.0 2B1.0""")
