"""Search: the plan whose predicted step takes least among all that fit the devices.

Settings are tried in the order of the least that their step can take, each with the best cut of the
blocks, until no other can be better (branch and bound). Few blocks are cut in every way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gru_parallel.errors import UsageError
from gru_parallel.planning.options import Setting
from gru_parallel.planning.planned import Planned
from gru_parallel.planning.problem import Problem

MOST_ACTIONS = 150_000
"""Of all schedules that are simulated together: about two seconds."""


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        best: the plan whose step takes least; where nothing fits, the one that lacks least memory.
        bound_ms: no plan has a step that takes less.
        n_settings: settings that there were.
        n_simulated: plans whose step was simulated.
    """

    best: Planned
    bound_ms: float
    n_settings: int
    n_simulated: int

    @property
    def gap(self) -> float:
        """By how much of its time the step could be shorter at the most, as a share."""
        return 1 - self.bound_ms / self.best.step_ms


def search(problem: Problem, most_actions: int = MOST_ACTIONS) -> Found:
    """Find the plan whose predicted step takes least.

    Args:
        problem: what is to be planned.
        most_actions: of all schedules that are simulated, but for the last one.

    Raises:
        UsageError: no setting works.
    """
    settings = problem.settings()
    if not settings:
        raise UsageError(
            "No plan is possible with these settings: the schedule, the core, the number of"
            " micro-batches or of ranks does not go with the model; leave them at auto."
        )
    roomy = list(filter(problem.may_fit, settings))
    if not roomy:
        # One of them shows what is missing.
        roomy, most_actions = settings, 0
    in_order = sorted((problem.least_ms(s), number) for number, s in enumerate(roomy))
    best: Planned | None = None
    bound_ms = float("inf")
    n_actions = n_simulated = 0
    for least, number in in_order:
        if best is not None and best.fits and least >= best.step_ms:
            break
        # More is spent where nothing fits yet.
        if best is not None and n_actions > most_actions * (1 if best.fits else 2):
            bound_ms = min(bound_ms, least)
            break
        for planned, are_all in _planned(problem, roomy[number]):
            n_simulated += 1
            n_actions += len(planned.timeline.events)
            if not are_all:
                bound_ms = min(bound_ms, least)
            if best is None or _rank(planned) < _rank(best):
                best = planned
    assert best is not None
    return Found(best, min(bound_ms, best.step_ms), len(settings), n_simulated)


def _planned(problem: Problem, setting: Setting) -> Iterator[tuple[Planned, bool]]:
    """Yield what the cuts of a setting come to, and whether these are all that there are."""
    plans, are_all = problem.plans(setting)
    for plan in plans:
        planned = problem.planned(plan)
        yield planned, are_all
        if not planned.fits and not are_all:
            other = problem.fitting(planned)
            if other is not None:
                yield problem.planned(other), are_all


def _rank(planned: Planned) -> tuple[int, float]:
    """What fits is better than what does not; the faster is better, or what lacks less."""
    lacking = sum(shortage.lacking_bytes for shortage in planned.shortages)
    return lacking, planned.step_ms
