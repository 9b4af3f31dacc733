from collections.abc import Callable
from itertools import product
from textwrap import dedent, indent

import pytest

from gru_parallel.schedule import Action, Op, Schedule, build_schedule, simulate
from gru_parallel.schedule.zero_bubble import zero_bubble

Draw = Callable[[str, int, int, int], str]

GRID = """\
stage 0 | 0F0.0 0F1.0 0F2.0             0B0.0 0W0.0 0B1.0 0W1.0 0B2.0 0W2.0
stage 1 |       1F0.0 1F1.0       1B0.0 1F2.0 1B1.0 1W0.0 1B2.0 1W1.0 1W2.0
stage 2 |             2F0.0 2B0.0 2F1.0 2B1.0 2F2.0 2B2.0 2W0.0 2W1.0 2W2.0"""

GRIDS = tuple(product((1, 2, 3, 4, 7), (1, 2, 3, 5, 8), (1, 2, 3, 6)))  # (S, M, C)


def step(schedule: Schedule) -> float:
    """The slots of a step in which F, B and W take one each, whether W is separate or not."""

    def n_slots(action: Action) -> float:
        return 2.0 if action.op is Op.B and not schedule.separates_weights else 1.0

    return simulate(schedule, n_slots).step_ms


def test_zero_bubble_works_on_weights_gradients_where_it_would_wait(draw: Draw) -> None:
    assert draw("zero_bubble", 3, 3, 1) == GRID


def test_the_grid_in_the_docstring_is_what_zero_bubble_does() -> None:
    assert indent(GRID, "    ") in dedent((zero_bubble.__doc__ or "").partition("\n")[2])


def test_zero_bubble_with_one_micro_batch_is_only_idle_at_both_ends_of_forward(draw: Draw) -> None:
    assert draw("zero_bubble", 3, 1, 3) == dedent("""\
        stage 0 | 0F0.0 0F0.1 0F0.2                         0B0.2 0B0.1 0B0.0 0W0.2 0W0.1 0W0.0
        stage 1 |       1F0.0 1F0.1 1F0.2             1B0.2 1B0.1 1B0.0 1W0.2 1W0.1 1W0.0
        stage 2 |             2F0.0 2F0.1 2F0.2 2B0.2 2B0.1 2B0.0 2W0.2 2W0.1 2W0.0""")


def test_zero_bubble_frees_a_cell_before_it_takes_one_too_many(draw: Draw) -> None:
    # Stage 1 keeps at most three cells: two of a micro-batch, and one more for the bubble.
    assert draw("zero_bubble", 2, 2, 2) == dedent("""\
        stage 0 | 0F0.0 0F0.1 0F1.0 0F1.1 0B0.1 0B0.0 0W0.1 0W0.0       0B1.1 0B1.0 0W1.1 0W1.0
        stage 1 |       1F0.0 1F0.1 1B0.1 1B0.0 1F1.0 1W0.1 1F1.1 1B1.1 1B1.0 1W0.0 1W1.1 1W1.0""")


def test_the_bubble_of_equal_stages_is_that_of_the_formulas() -> None:
    for s, m, c in GRIDS:
        n_idle = max(s - 1, 2 * (s - 1) - (m - 1) * min(c, 2))
        bubble = simulate(build_schedule("zero_bubble", s, m, c), lambda _: 1.0).bubble
        assert bubble == pytest.approx(n_idle / (3 * m * c + n_idle), abs=1e-12), (s, m, c)
        if m == 1:
            assert n_idle == 2 * (s - 1)
        if m >= s:
            assert n_idle == s - 1


@pytest.mark.parametrize("other", ["gpipe", "one_f_one_b"])
def test_zero_bubble_takes_at_most_two_thirds_of_the_idle_time_of_others(other: str) -> None:
    for s, m, c in GRIDS:
        n_work = 3 * m * c
        n_idle = step(build_schedule("zero_bubble", s, m, c)) - n_work
        n_idle_of_other = step(build_schedule(other, s, m, c)) - n_work
        assert n_idle_of_other == 3 * (s - 1)
        assert n_idle <= 2 / 3 * n_idle_of_other


def test_no_stage_keeps_more_cells_than_the_first_stage_of_1f1b() -> None:
    for sizes in GRIDS:
        zero, usual = (
            simulate(build_schedule(name, *sizes), lambda _: 1.0)
            for name in ("zero_bubble", "one_f_one_b")
        )
        for stage in range(sizes[0]):
            assert zero.peak_activations(stage) <= usual.peak_activations(0)


def test_forward_and_backward_are_in_the_order_of_1f1b_so_that_barriers_hold_nothing_up() -> None:
    for sizes in GRIDS:
        zero, usual = (build_schedule(name, *sizes) for name in ("zero_bubble", "one_f_one_b"))
        for actions, expected in zip(zero.actions, usual.actions, strict=True):
            assert tuple(action for action in actions if action.op is not Op.W) == expected
