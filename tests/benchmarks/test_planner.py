"""What the planner's benchmark makes of its measurements."""

from argparse import ArgumentParser
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from io import StringIO

import pytest
from rich.console import Console

from benchmarks.planner import command
from benchmarks.planner.cases import SHAPES, TriedPlan, sweep
from benchmarks.planner.command import PLANNER
from benchmarks.planner.numbers import (
    N_ROUNDS_OF_PASS,
    Errors,
    PlanNumbers,
    Raced,
    ShapeNumbers,
    quieter_half,
    read_numbers,
)
from benchmarks.shapes import Shape
from gru_parallel.placement import Grid, Plan, StagePlan

SHAPE = Shape(8, 4, 24, 2)
ONE, TWO, FOUR = (TriedPlan(2, "one_f_one_b", 1, n_chunks) for n_chunks in (1, 2, 4))


def numbers(*, four_ms: float = 80.0) -> ShapeNumbers:
    one_ms = (80.0, 100.0, 100.0, 100.0, 160.0, 140.0)
    plans = (
        PlanNumbers(ONE, (110.0, 130.0, 70.0), analytic_ms=200.0, steps_ms=one_ms),
        PlanNumbers(TWO, (81.0, 70.0, 90.0), analytic_ms=90.0, steps_ms=6 * (90.0,)),
        PlanNumbers(FOUR, (84.0, 84.0, 84.0), analytic_ms=80.0, steps_ms=6 * (four_ms,)),
    )
    race = (
        Raced(TWO, (90.0, 70.0, 91.0)),
        Raced(FOUR, (four_ms, four_ms, 1.0)),
        Raced(ONE, (99.0, 100.0, 101.0)),
    )
    return ShapeNumbers(SHAPE, (2.5, 1.0, 3.0), plans, race, (ONE, FOUR, FOUR))


def test_errors_are_shares_of_what_was_measured() -> None:
    assert [plan.error for plan in numbers().plans] == pytest.approx([0.1, -0.1, 0.05])
    assert Errors.of(numbers().errors) == Errors(
        pytest.approx(0.1), pytest.approx(0.25 / 3), pytest.approx(0.1), 3
    )


def test_one_profile_is_held_against_the_steps_right_after_it() -> None:
    one, two, _ = numbers().plans

    assert one.errors_of_passes == pytest.approx([20 / 90, 30 / 100, 80 / 150])
    assert two.errors_of_passes == pytest.approx([9 / 90, 20 / 90, 0])


@pytest.mark.parametrize("n_rounds", range(1, 9))
def test_the_last_pass_may_have_fewer_steps(n_rounds: int) -> None:
    steps = tuple(float(1 + number // N_ROUNDS_OF_PASS) for number in range(n_rounds))
    promised = tuple(2.0 * (1 + number) for number in range(-(-n_rounds // N_ROUNDS_OF_PASS)))

    assert PlanNumbers(ONE, promised, 1.0, steps).errors_of_passes == [1.0] * len(promised)


def test_what_one_profile_alone_would_have_chosen_is_measured_by_all_steps() -> None:
    # The second chose 90 ms, where 80 is the least; the last, which was far off, 100 ms.
    assert numbers().losses_of_passes == pytest.approx([90 / 80 - 1, 90 / 80 - 1, 100 / 80 - 1])


def test_what_a_profile_and_its_trials_have_chosen_is_measured_by_the_race() -> None:
    assert numbers().losses_with_trials == pytest.approx([100 / 80 - 1, 0, 0])
    assert replace(numbers(), choices=()).losses_with_trials == []


def test_the_loss_is_what_the_chosen_plan_takes_longer_than_the_best() -> None:
    assert numbers().loss == pytest.approx(90 / 80 - 1)
    assert numbers(four_ms=95.0).loss == 0.0


def test_the_quieter_half_is_of_rounds_in_which_all_plans_took_less() -> None:
    # Three rounds: the second is slow but for one plan, the last but for another.
    assert quieter_half([(10.0, 13.0, 9.0), (20.0, 19.0, 22.0), (5.0, 7.0, 6.0)]) == [0, 2]
    assert quieter_half([(2.0, 1.0, 3.0, 4.0)]) == [0, 1]
    assert quieter_half([(1.0,), (2.0,)]) == [0]


def test_undisturbed_errors_and_losses_leave_out_the_other_half() -> None:
    # Three rounds took longer, and one profile promised more; the race had one slow round.
    plans = tuple(
        PlanNumbers(each, (99.0, 88.0, 110.0), 1.0, (80.0, 80.0, 80.0, 120.0, 100.0, 100.0))
        for each in (ONE, TWO)
    )
    race = (Raced(ONE, (20.0, 90.0, 21.0)), Raced(TWO, (20.0, 10.0, 20.0)))
    own = replace(numbers(), plans=plans, race=race)

    assert own.errors == pytest.approx([0.1, 0.1])
    assert own.quiet_errors == pytest.approx([(99 + 88) / 2 / 80 - 1] * 2)
    assert own.loss == pytest.approx(0.05)
    assert own.quiet_loss == pytest.approx(0.025)


def test_a_repeated_measurement_is_as_far_off_as_its_halves_are_apart() -> None:
    four = replace(numbers().plans[0], steps_ms=(8.0, 9.0, 30.0, 10.0))

    # 80, 100, 100 and 100, 160, 140.
    assert numbers().repeat_errors == pytest.approx([1 - 100 / 140, 0, 0])
    assert four.repeat_error == pytest.approx(1 - 8.5 / 20)


def test_the_order_counts_pairs_that_differ_clearly() -> None:
    # 100 and 90, 100 and 80 are in order; 90 and 80 are not.
    assert numbers().in_order == pytest.approx(2 / 3)
    # 90 and 92 do not count.
    assert numbers(four_ms=92.0).in_order == 1.0


def test_numbers_are_read_back_from_json() -> None:
    assert read_numbers(asdict(numbers())) == numbers()
    # From before there were trials.
    entries = asdict(numbers())
    del entries["choices"]
    assert read_numbers(entries) == replace(numbers(), choices=())


def test_every_target_has_its_verdict() -> None:
    tables = list(PLANNER.tables([numbers(), numbers(four_ms=95.0)]))

    verdicts = {row[0]: row[2] for row in tables[1].rows}
    assert list(verdicts.values()) == ["MISSED", "MISSED", "met", "met"]
    lost = list(PLANNER.tables([numbers(four_ms=60.0)]))[1]
    assert [row[2] for row in lost.rows] == ["MISSED", "MISSED", "MISSED", "met"]
    assert [table.title for table in tables[2:]] == [str(SHAPE)] * 2


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_sweep_fits_its_model(shape: Shape) -> None:
    tried = sweep(shape)

    assert len(tried) == len(set(tried))
    assert len(tried) >= 16
    for each in tried:
        plan = each.plan(shape)
        assert plan.num_layers == shape.num_layers
        assert TriedPlan.of(plan) == each
        assert each.n_chunks <= shape.n_steps


@pytest.mark.parametrize(("num_layers", "n_first"), [(3, 1), (3, 2), (4, 1), (4, 2), (4, 3)])
def test_a_plan_is_told_from_others_by_its_cut(num_layers: int, n_first: int) -> None:
    shape = Shape(64, 8, 48, num_layers)
    stages = (StagePlan("cpu:0", 0, n_first), StagePlan("cpu:1", n_first, num_layers - n_first))
    plan = Plan(num_layers, Grid(1, "one_f_one_b", 1, 4), stages, "auto")

    tried = TriedPlan.of(plan)

    assert tried.plan(shape) == plan
    assert (tried in sweep(shape)) is (n_first == num_layers // 2)
    assert ("of the layers first" in str(tried)) is (n_first != num_layers // 2)


def test_a_model_whose_process_dies_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(shape: Shape, _: int) -> ShapeNumbers:
        if shape.hidden_size == 64:
            raise BrokenProcessPool("its process died")
        return replace(numbers(), shape=shape)

    monkeypatch.setattr(command, "_measure_alone", measure)
    parser = ArgumentParser()
    PLANNER.add_options(parser)
    parser.set_defaults(quick=False)
    written = StringIO()
    console = Console(width=200, file=written)

    options = parser.parse_args(["--shape", "64,8,24,2", "--shape", SHAPE.option])
    assert [own.shape for own in PLANNER.measure(options, console)] == [SHAPE]
    assert "1 of 2: H=64, B=8, T=24, L=2: left out, since its process died" in written.getvalue()

    options = parser.parse_args(["--shape", "64,8,24,2"])
    with pytest.raises(BrokenProcessPool):
        list(PLANNER.measure(options, console))
