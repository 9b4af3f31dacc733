"""From a plan to the timeline that it should give; knows of devices only their times."""

from collections.abc import Mapping, Sequence

from gru_parallel.errors import ScheduleError
from gru_parallel.placement.plan import Plan
from gru_parallel.schedule.action import Action, Op
from gru_parallel.schedule.registry import build_schedule
from gru_parallel.schedule.simulate import simulate
from gru_parallel.schedule.timeline import Timeline


def predict(
    plan: Plan,
    stage_times_ms: Sequence[tuple[float, float]],
    held_shares: Mapping[int, tuple[float, float]] | None = None,
) -> Timeline:
    """Simulate one training step of a plan.

    Every cell is assumed to cost the same share of its stage's time: ragged cells, thinner matrix
    products and transfers are left out, so this is the best that the plan can do. Where the
    schedule separates B and W, W takes as long as F: it has one of the products that F has.

    Args:
        plan: stages, schedule, and the number of micro-batches and chunks.
        stage_times_ms: for each stage (forward, backward) of the whole batch and window, in ms,
            the weights' gradient, and what is run again of F, within backward.
        held_shares: for each stage with a barrier in time, the shares of (forward, backward) that
            wait for the whole window.

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
    held = held_shares or {}

    def cost_ms(action: Action) -> float:
        way = 0 if action.op is Op.F else 1
        share = held.get(action.stage, (0.0, 0.0))[way]
        forward_ms, backward_ms = stage_times_ms[action.stage]
        w_ms = forward_ms if schedule.separates_weights else 0.0
        all_ms = {Op.F: forward_ms, Op.B: backward_ms - w_ms, Op.W: w_ms}[action.op]
        micro_batch_ms = all_ms / plan.grid.n_micro_batches
        last = plan.grid.n_chunks - 1 if action.op is Op.F else 0
        at_once = share if action.chunk == last else 0.0
        return micro_batch_ms * ((1 - share) / plan.grid.n_chunks + at_once)

    schedule = build_schedule(
        plan.grid.schedule,
        plan.n_stages,
        plan.grid.n_micro_batches,
        plan.grid.n_chunks,
        plan.grid.truncate,
        frozenset(held),
    )
    return simulate(schedule, cost_ms)
