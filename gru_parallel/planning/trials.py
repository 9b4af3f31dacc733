"""Trials: which plans are to be run before one is chosen, and which of them is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from gru_parallel.placement.model_spec import ModelSpec
from gru_parallel.planning.alternatives import alternatives
from gru_parallel.planning.planned import Planned
from gru_parallel.planning.problem import Problem
from gru_parallel.planning.profile import Trial
from gru_parallel.planning.search import search

N_TRIED = 4
CLOSE = 1.25
"""A step that is predicted to take longer than that of the best plan by more is not tried."""
MOST_MS = 1_000.0
"""Nor is any plan if a step takes longer: it would be a long wait, and small errors hardly matter
to a large model."""

MISJUDGED = 1.5
"""Steps that take so many times as long as predicted are not only disturbed."""


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


def try_plans(
    problem: Problem, best: Planned, run: Callable[[Sequence[Planned]], tuple[Trial, ...]]
) -> tuple[Trial, ...]:
    """Run the plans that could be the fastest.

    Where all of them that have the core of the best one take much longer than predicted, the times
    of that core are wrong; then the best plans with another core run, too.

    Args:
        problem: that is to be solved.
        best: by predictions.
        run: runs plans, and says what they took.
    """
    tried = to_try(problem, best)
    if not tried:
        return ()
    trials = run(tried)
    others = tuple(core for core in problem.options.cores if core != best.plan.core)
    if not others or not _is_misjudged(tried, trials):
        return trials
    without = replace(problem, options=replace(problem.options, cores=others))
    if not without.branches():
        return trials
    other = search(without).best
    took = [trial.step_ms for trial in trials if trial.step_ms is not None]
    if not other.fits or promised_ms(other) >= min(took):
        return trials
    known = {planned.plan for planned in tried}
    more = [each for each in to_try(without, other) or [other] if each.plan not in known]
    return trials + run(more) if more else trials


def promised_ms(planned: Planned) -> float:
    """Return what a step is predicted to take without its optimiser, as a trial times it."""
    return planned.timeline.step_ms + planned.costs.step_ms(planned.cluster.devices[0], 0)


def _is_misjudged(tried: Sequence[Planned], trials: Sequence[Trial]) -> bool:
    """Whether all plans with the core of the first took much longer than predicted."""
    core = tried[0].plan.core
    shares = [
        trial.step_ms / max(promised_ms(planned), 1e-9)
        for trial, planned in zip(trials, tried, strict=True)
        if trial.step_ms is not None and planned.plan.core == core
    ]
    return bool(shares) and min(shares) > MISJUDGED


def comparable(
    problem: Problem, best: Planned, trials: Sequence[Trial]
) -> list[tuple[Trial, Planned]]:
    """Return the trials that a choice can go by, each with its plan.

    Args:
        problem: that is to be solved; plans that its options do not allow, that need other devices
            or do not fit do not count.
        best: by predictions.
        trials: of plans on the same machine.

    Returns:
        None at all if the best plan was not tried: they are of other settings, or another model.
    """
    model = digest(problem.workload.model)
    own = [trial for trial in trials if trial.model == model]
    if best.plan not in [trial.plan for trial in own]:
        return []
    names = {device.name for device in problem.cluster.devices}
    stages = problem.options.stages
    return [
        (trial, planned)
        for trial in own
        if names.issuperset(trial.plan.all_devices) and stages in (None, trial.plan.stages)
        for planned in [problem.planned(trial.plan)]
        if problem.allows(planned.setting) and planned.fits
    ]


def fastest(best: Planned, tried: Sequence[tuple[Trial, Planned]]) -> Planned:
    """Return the plan that was the fastest when it ran.

    Args:
        best: by predictions; it is taken where no plan was tried, or none had room.
        tried: see `comparable`.
    """
    ran = [(trial.step_ms, planned) for trial, planned in tried if trial.step_ms is not None]
    return min(ran, key=lambda each: each[0], default=(0.0, best))[1]


def digest(model: ModelSpec) -> str:
    """Return what tells a model from others that a plan could be of."""
    return hashlib.sha256(repr(model.blocks).encode()).hexdigest()[:16]
