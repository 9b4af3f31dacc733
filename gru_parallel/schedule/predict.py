"""From a plan to the timeline that it should give; knows of devices only their times."""

from collections.abc import Sequence

from gru_parallel.errors import ScheduleError
from gru_parallel.placement.plan import Plan
from gru_parallel.schedule.action import Action, Op
from gru_parallel.schedule.registry import build_schedule
from gru_parallel.schedule.simulate import simulate
from gru_parallel.schedule.timeline import Timeline


def predict(plan: Plan, stage_times_ms: Sequence[tuple[float, float]]) -> Timeline:
    """Simulate one training step of a plan.

    Every cell is taken to cost the same share of its stage's time: ragged cells, thinner matrix
    products and transfers are left out, so this is the best that the plan can do.

    Args:
        plan: stages, schedule, and the number of micro-batches and chunks.
        stage_times_ms: for each stage (forward, backward) of the whole batch and window, in ms,
            the weights' gradient within backward.

    Returns:
        The timeline of the step: its time, bubble and peak activations.

    Raises:
        ScheduleError: there is not one pair of times for each stage.
        UsageError: the plan names a schedule that does not exist.
    """
    if len(stage_times_ms) != plan.n_stages:
        raise ScheduleError(
            f"{len(stage_times_ms)} stage times for the {plan.n_stages} stages of the plan; "
            "give one (forward_ms, backward_ms) for each stage."
        )
    n_cells = plan.n_micro_batches * plan.n_chunks

    def cost_ms(action: Action) -> float:
        forward_ms, backward_ms = stage_times_ms[action.stage]
        return (forward_ms if action.op is Op.F else backward_ms) / n_cells

    schedule = build_schedule(plan.schedule, plan.n_stages, plan.n_micro_batches, plan.n_chunks)
    return simulate(schedule, cost_ms)
