"""Which plans are tried before one is taken, and which one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gru_parallel.placement import Cluster, Device, ModelSpec, cut_stack
from gru_parallel.placement.cluster import Machine
from gru_parallel.planning import Options, Planned, Problem, Workload, alternatives, search
from gru_parallel.planning.cell_costs import CellTimes, LayerKind
from gru_parallel.planning.profile import Trial
from gru_parallel.planning.trials import (
    CLOSE,
    MOST_MS,
    N_TRIED,
    comparable,
    digest,
    fastest,
    to_try,
    try_plans,
)
from tests.affine_costs import AffineCosts

OPTIONS = Options(1, ("one_f_one_b", "zero_bubble"), (1, 2), (1, 2, 4, 8))


def problem(costs: AffineCosts | None = None, options: Options = OPTIONS) -> Problem:
    devices = tuple(Device(f"cpu:{index}", "cpu") for index in range(4))
    spec = ModelSpec(cut_stack(4, 4, 4, h_0="zeros"))
    cluster = Cluster(devices, (Machine(4),))
    return Problem(Workload(spec, 8, 16), cluster, costs or AffineCosts(0.1, 0.1), options)


def trials(tried: list[Planned], *steps_ms: float | None) -> list[Trial]:
    pairs = zip(tried, steps_ms, strict=True)
    return [Trial(each.plan, digest(each.workload.model), ms) for each, ms in pairs]


def choice(given: Problem, best: Planned, found: list[Trial]) -> Planned:
    return fastest(best, comparable(given, best, found))


def test_the_best_plan_and_those_nearest_to_it_are_tried() -> None:
    given = problem()
    best = search(given).best
    near = [other.planned for other in alternatives(given, best)]

    tried = to_try(given, best)

    assert tried[0].plan == best.plan
    assert [each.plan for each in tried[1:]] == [each.plan for each in near[: N_TRIED - 1]]
    assert tried[-1].step_ms <= CLOSE * best.step_ms


def test_a_plan_that_is_predicted_to_be_far_slower_is_not_tried() -> None:
    # Each cell is dear, so every further cut costs much.
    given = problem(AffineCosts(0.001, 5.0))
    best = search(given).best
    near = [o for o in alternatives(given, best) if o.planned.step_ms <= CLOSE * best.step_ms]

    tried = to_try(given, best)

    assert len(alternatives(given, best)) >= N_TRIED
    assert len(tried) == 1 + len(near) < N_TRIED


def test_nothing_is_tried_where_there_is_no_choice_or_a_step_takes_long() -> None:
    fixed = problem(options=replace(OPTIONS, schedules=("gpipe",), n_chunks=(4,)))
    stages = search(fixed).best.plan.stages
    mapped = replace(fixed, options=replace(fixed.options, stages=stages, n_micro_batches=(1,)))
    long = problem(AffineCosts(MOST_MS, 0.0))

    assert to_try(mapped, search(mapped).best) == []
    assert to_try(long, search(long).best) == []


def test_the_plan_that_took_least_is_taken() -> None:
    given = problem()
    tried = to_try(given, search(given).best)

    taken = choice(given, tried[0], trials(tried, 9.0, 8.0, 7.0, 8.5))

    assert taken.plan == tried[2].plan
    assert choice(given, tried[0], trials(tried, 6.0, 8.0, 7.0, 8.5)).plan == tried[0].plan


def test_a_plan_that_its_device_has_no_room_for_is_not_taken() -> None:
    given = problem()
    tried = to_try(given, search(given).best)

    assert choice(given, tried[0], trials(tried, None, None, 9.0, None)).plan == tried[2].plan
    assert choice(given, tried[0], trials(tried, *4 * [None])).plan == tried[0].plan


def test_trials_of_other_settings_do_not_count() -> None:
    given = problem()
    tried = to_try(given, search(given).best)
    found = trials(tried, 9.0, 1.0, 1.0, 1.0)
    grid, stages = tried[0].plan.grid, tried[0].plan.stages
    fixed = Options(1, (grid.schedule,), (grid.n_micro_batches,), (grid.n_chunks,), stages=stages)
    fewer = replace(given, cluster=given.cluster.only(tried[0].plan.devices[:1]))

    assert choice(replace(given, options=fixed), tried[0], found).plan == tried[0].plan
    # What is best now was not tried then.
    assert choice(given, tried[0], found[1:]) is tried[0]
    alone = search(fewer).best
    assert choice(fewer, alone, found).plan == alone.plan
    # Its blocks wait for each other's last states.
    other = ModelSpec(cut_stack(4, 4, 4, h_0=["zeros", "previous", "zeros", "zeros"]))
    another = replace(given, workload=replace(given.workload, model=other))
    assert comparable(another, another.planned(tried[0].plan), found) == []


class CostsByCore(AffineCosts):
    """Layers of the core "fused" take twice as long as others."""

    def layer(self, kind: LayerKind, *on: Any) -> CellTimes:
        return super().layer(kind, *on).times(2.0 if kind.core == "fused" else 1.0)


def test_where_all_take_much_longer_than_predicted_another_core_is_tried() -> None:
    cores = replace(OPTIONS, cores=("lean", "fused"), n_chunks=(4, 8))
    given = problem(CostsByCore(0.1, 0.1), cores)
    best = search(given).best
    ran: list[list[Planned]] = []

    def run(factor: float) -> list[Trial]:
        def took(tried: Sequence[Planned]) -> tuple[Trial, ...]:
            ran.append(list(tried))
            times = [each.step_ms * (factor if each.plan.core == "lean" else 1.0) for each in tried]
            return tuple(trials(list(tried), *times))

        ran.clear()
        return list(try_plans(given, best, took))

    first = run(4.0)
    before, after = ([each.plan for each in plans] for plans in ran)
    assert {plan.core for plan in before} == {"lean"}
    assert {plan.core for plan in after} == {"fused"}
    assert choice(given, best, first).plan.core == "fused"
    # Somewhat longer is what all plans take beside other work.
    run(1.4)
    assert len(ran) == 1
    # Nor is another core of use where it is predicted to be slower than what was found.
    run(1.6)
    assert len(ran) == 1
