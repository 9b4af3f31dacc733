"""From a plan to the timeline that it should give; knows of devices only their times."""

from __future__ import annotations

from collections.abc import Sequence

from gru_parallel.errors import ScheduleError
from gru_parallel.placement.plan import Plan
from gru_parallel.planning.crossings import Crossing
from gru_parallel.planning.stage_times import StageTimes
from gru_parallel.schedule.action import Action, Op
from gru_parallel.schedule.registry import build_schedule
from gru_parallel.schedule.schedule import Schedule
from gru_parallel.schedule.simulate import Pool, simulate
from gru_parallel.schedule.timeline import Timeline


def predict(
    plan: Plan,
    times: Sequence[StageTimes],
    barriers: frozenset[int] = frozenset(),
    crossings: Sequence[Crossing] | None = None,
    pools: Sequence[Pool] = (),
) -> Timeline:
    """Simulate one training step of a plan.

    All cells of a stage are assumed to be of one size: the mean.

    Args:
        plan: stages, schedule, and how a batch is cut.
        times: for each stage, what it takes of a micro-batch.
        barriers: the stages that hold a barrier in time.
        crossings: for each boundary between two stages, what the result of an action on one takes
            to the other; None for no time at all.
        pools: the stages that share processors.

    Returns:
        The timeline of the step: its time, bubble and peak activations.

    Raises:
        ScheduleError: there is not one entry of `times` for each stage.
        UsageError: the plan names a schedule that does not exist, or one that does not go with
            barriers.
    """
    if len(times) != plan.n_stages:
        raise ScheduleError(
            f"{len(times)} stage times for the {plan.n_stages} stages of the plan; give one for"
            " each stage."
        )
    schedule = schedule_of(plan, barriers)
    separates = schedule.separates_weights
    n_boundaries = plan.n_stages - 1
    crossed_ms = [each.ms for each in crossings or ()] or [0.0] * n_boundaries
    links_ms = [each.link_ms for each in crossings or ()] or [0.0] * n_boundaries

    # Actions of one kind take the same, and there are many: few kinds, by what `ms` looks at.
    known: dict[tuple[int, Op, bool, bool], float] = {}
    last = plan.grid.n_chunks - 1

    def cost_ms(action: Action) -> float:
        chunk = action.chunk
        kind = (action.stage, action.op, chunk == 0, chunk == last)
        if kind not in known:
            found = times[action.stage].ms(action, plan.grid, separates_weights=separates)
            known[kind] = found
        return known[kind]

    def hand_over_ms(given: Action) -> float:
        stage, op, _ = given
        return crossed_ms[stage if op is Op.F else stage - 1]

    def link_ms(given: Action) -> float:
        stage, op, _ = given
        return links_ms[stage if op is Op.F else stage - 1]

    return simulate(schedule, cost_ms, hand_over_ms, pools, link_ms)


def schedule_of(plan: Plan, barriers: frozenset[int] = frozenset()) -> Schedule:
    """Build the schedule that a plan names."""
    grid = plan.grid
    return build_schedule(
        grid.schedule,
        plan.n_stages,
        grid.n_micro_batches,
        grid.n_chunks,
        grid.truncate,
        barriers,
    )
