"""Trials: which plans are to be run before one is chosen, and which of them is."""

from __future__ import annotations

from collections.abc import Sequence

from gru_parallel.planning.alternatives import alternatives
from gru_parallel.planning.planned import Planned
from gru_parallel.planning.problem import Problem
from gru_parallel.planning.profile import Trial

N_TRIED = 4
CLOSE = 1.25
"""A step that is predicted to take longer than that of the best plan by more is not tried."""
MOST_MS = 1_000.0
"""Nor is any plan if a step takes longer: it would be a long wait, and small errors hardly matter
to a large model."""


def to_try(problem: Problem, best: Planned) -> list[Planned]:
    """List plans that could be the fastest as far as predictions can tell, the best one first.

    Args:
        problem: that is to be solved.
        best: by predictions.

    Returns:
        The best one and some that differ from it in one setting; none if there is no choice.
    """
    if not best.fits or best.step_ms > MOST_MS:
        return []
    others = (other.planned for other in alternatives(problem, best))
    close = [p for p in others if p.fits and p.step_ms <= CLOSE * best.step_ms]
    plans = {planned.plan: planned for planned in (best, *close)}
    return list(plans.values())[:N_TRIED] if len(plans) > 1 else []


def fastest(problem: Problem, best: Planned, trials: Sequence[Trial]) -> Planned:
    """Return the plan that was the fastest when it ran.

    Args:
        problem: that is to be solved; plans that its options do not allow do not count.
        best: by predictions; it is taken if it was not tried: the trials are of other settings.
        trials: of plans of the same model on the same machine.
    """
    if best.plan not in [trial.plan for trial in trials]:
        return best
    possible = set(problem.settings())
    names = {device.name for device in problem.cluster.devices}
    stages = problem.options.stages
    tried = [
        (trial.step_ms, planned)
        for trial in trials
        if names.issuperset(trial.plan.all_devices) and stages in (None, trial.plan.stages)
        for planned in [problem.planned(trial.plan)]
        if trial.step_ms is not None and planned.setting in possible and planned.fits
    ]
    return min(tried, key=lambda each: each[0], default=(0.0, best))[1]
