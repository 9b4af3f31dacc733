"""Search: the plan whose predicted step takes least among all that fit the devices.

Settings are tried in the order of the least that their step can take, each with the best cut of the
blocks, until no other can be better, or the effort is spent; then the best one is improved by small
steps. Few blocks are cut in every way. Numbers of stages are told apart only where they matter: as
long as the least of a whole branch is more than that of others, it stays whole (branch and bound,
best first).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from operator import itemgetter

from gru_parallel.errors import UsageError
from gru_parallel.placement.plan import Plan
from gru_parallel.planning.neighbours import neighbours, shifted
from gru_parallel.planning.options import Branch, Setting
from gru_parallel.planning.planned import Planned
from gru_parallel.planning.problem import Problem
from gru_parallel.planning.setting_costs import separates

MOST_ACTIONS = 75_000
"""Of all schedules that are simulated together: about a second. Twice as many found no better plans
for 1,000 layers on 64 devices (six models and batches), half as many did worse for three."""

MOST_OF_ONE = 150_000
"""Schedules of more actions and more than `ENOUGH_CELLS` are not simulated if there are coarser
ones: so many take a second, and 300 MB. Windows could be cut into thousands of chunks."""

ENOUGH_CELLS = 1024
"""With so many, 64 stages one after the other are idle for a sixteenth of the time, 256 for a
fifth."""

_CLOSE = 0.02
"""A plan whose step could be shorter by at most this share is not improved any further."""

_FEW = 12
"""Settings that are tried besides where none fits."""

_Entry = tuple[float, bool, int, int, int, Branch]
"""Of a queue: the least that a step takes, and what says who comes first where that is the same."""


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
    branches = problem.branches()
    if not branches:
        raise UsageError(
            "No plan is possible with these settings: the schedule, the core, the number of"
            " micro-batches or of ranks does not go with the model; leave them at auto."
        )
    # With devices of several kinds bounds are loose; a good plan of one kind leaves less to try.
    found = [search(part, most_actions // 4) for part in problem.of_one_kind()]
    best = min((problem.planned(f.best.plan) for f in found), key=_rank, default=None)
    n_simulated = sum(f.n_simulated for f in found)
    bound_ms = float("inf")
    n_actions = 0
    is_too_fine = _too_fine(branches)

    def consider(setting: Setting, least: float) -> None:
        nonlocal best, bound_ms, n_actions, n_simulated
        effort_of_a_cut = problem.effort_of_a_cut(setting)
        for planned, are_all in _planned(problem, setting):
            n_simulated += 1
            n_actions += len(planned.timeline.events) + effort_of_a_cut
            if not are_all:
                bound_ms = min(bound_ms, least)
            if best is None or _rank(planned) < _rank(best):
                best = planned

    for least, setting in _in_order(problem, branches):
        if best is not None and best.fits and least >= best.step_ms:
            break
        # More is spent where nothing fits yet.
        spent = best is not None and n_actions > most_actions * (1 if best.fits else 2)
        if spent or is_too_fine(setting):
            bound_ms = min(bound_ms, least)
        if spent:
            break
        if not is_too_fine(setting):
            consider(setting, least)
    if best is None or not best.fits:
        n_before = n_actions
        for least, setting in _least_hungry(problem, branches, is_too_fine):
            consider(setting, least)
            if (best is not None and best.fits) or n_actions - n_before > most_actions:
                break
    assert best is not None
    if bound_ms < (1 - _CLOSE) * best.step_ms:
        best, n_tried = _improved(problem, best, most_actions // 2, is_too_fine)
        n_simulated += n_tried
    n_settings = sum(map(len, branches))
    return Found(best, min(bound_ms, best.step_ms), n_settings, n_simulated)


def _in_order(problem: Problem, branches: Sequence[Branch]) -> Iterator[tuple[float, Setting]]:
    """Yield the settings that may fit, each with the least that its step can take, by that."""

    def entry(branch: Branch, number: int) -> _Entry:
        # Branches of the same least before settings, then the simple ones.
        first = branch.fewest
        return (
            problem.least_ms(branch),
            len(branch) == 1,
            first.data_parallel,
            first.n_stages,
            number,
            branch,
        )

    roomy = filter(problem.may_fit, branches)
    left = [entry(branch, number) for number, branch in enumerate(roomy)]
    heapify(left)
    while left:
        least, is_one, *_, number, branch = heappop(left)
        if is_one:
            yield least, branch.fewest
            continue
        for half in filter(problem.may_fit, branch.halves()):
            heappush(left, entry(half, number))


def _least_hungry(
    problem: Problem, branches: Sequence[Branch], is_too_fine: Callable[[Setting], bool]
) -> list[tuple[float, Setting]]:
    """Choose some settings that need little memory, for where none is found that fits.

    Returns:
        Each with the least that its step can take, by that.
    """
    # With memory of their own as many devices as there are, else as few.
    shares = problem.shares_memory
    ends = (branch.fewest if shares else branch.most for branch in branches)
    settings = [setting for setting in ends if not is_too_fine(setting)]
    n_used = [setting.n_stages * setting.data_parallel for setting in settings]
    wanted = min(n_used) if shares else max(n_used)
    spread = [s for s, number in zip(settings, n_used, strict=True) if number == wanted]
    again = [s for s in spread if s.grid.recomputes] or spread
    hungry = sorted(again, key=lambda s: s.grid.n_micro_batches * s.grid.n_chunks)[-_FEW:]
    return sorted(((problem.least_ms(Branch.of(s)), s) for s in hungry), key=itemgetter(0))


def _improved(
    problem: Problem, best: Planned, most_actions: int, is_too_fine: Callable[[Setting], bool]
) -> tuple[Planned, int]:
    """Climb from a plan to better ones that differ in one setting, or by one block.

    Args:
        problem: what is to be planned.
        best: where to begin.
        most_actions: of all schedules that are simulated together.
        is_too_fine: whether a setting has too many cells to be simulated.

    Returns:
        The plan at the top, and how many were simulated.
    """
    tried: set[Plan] = {best.plan}
    n_actions = 0
    while n_actions <= most_actions:
        before = best
        near = [setting for _, setting in neighbours(best.setting, problem.options)]
        possible = (s for s in near if problem.allows(s) and not is_too_fine(s))
        plans = [plan for setting in possible for plan in problem.plans(setting)[0]]
        if problem.options.stages is None:
            plans += shifted(best.plan)
        for plan in plans:
            if plan in tried or n_actions > most_actions:
                continue
            tried.add(plan)
            planned = problem.planned(plan)
            n_actions += len(planned.timeline.events)
            if _rank(planned) < _rank(best):
                best = planned
        if best is before:
            break
    return best, len(tried) - 1


def _too_fine(branches: Sequence[Branch]) -> Callable[[Setting], bool]:
    """Return what says whether a setting has too many cells to be simulated, and others fewer."""

    def n_cells(setting: Setting) -> int:
        return setting.grid.n_micro_batches * setting.grid.n_chunks

    least = min(n_cells(branch.fewest) for branch in branches)

    def is_too_fine(setting: Setting) -> bool:
        n_ops = 3 if separates(setting.grid.schedule) else 2
        number = n_cells(setting)
        is_large = n_ops * setting.n_stages * number > MOST_OF_ONE
        return is_large and number > max(ENOUGH_CELLS, least)

    return is_too_fine


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


def _rank(planned: Planned) -> tuple[float, float]:
    """What fits is better than what does not; the faster is better, or what lacks less."""
    lacking = sum(shortage.lacking_bytes for shortage in planned.shortages)
    # To two digits: a little more or less of what is missing changes nothing.
    return float(f"{lacking:.1e}"), planned.step_ms
