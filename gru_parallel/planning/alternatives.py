"""Alternatives: plans next to the chosen one, and the best ones for fewer devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gru_parallel.errors import UsageError
from gru_parallel.planning.neighbours import neighbours
from gru_parallel.planning.planned import Planned
from gru_parallel.planning.problem import Problem
from gru_parallel.planning.search import search

MOST_ACTIONS_OF_A_POINT = 20_000
"""Of a point of the curve, where a percent more or less changes nothing."""


@dataclass(frozen=True)
class Alternative:
    """A plan that was not chosen.

    Attributes:
        change: how it differs, in a few words, like "4 chunks".
        planned: what it comes to.
    """

    change: str
    planned: Planned


@dataclass(frozen=True)
class CurvePoint:
    """The best plan for so many devices.

    Attributes:
        n_devices: that there are; the plan may use fewer.
        planned: the plan; None where none fits.
    """

    n_devices: int
    planned: Planned | None


def alternatives(problem: Problem, best: Planned) -> list[Alternative]:
    """List the plans next to the best one: one setting changed, the others as they are.

    Args:
        problem: that the best one solves; only what its options allow is listed.
        best: the plan chosen.

    Returns:
        The alternatives, the fastest first, each with the best cut of its setting.
    """
    found = [
        Alternative(change, min(map(problem.planned, problem.plans(setting)[0]), key=_step_ms))
        for change, setting in neighbours(best.setting, problem.options)
        if problem.allows(setting)
    ]
    return sorted(found, key=lambda each: each.planned.step_ms)


def scaling_curve(
    problem: Problem, counts: list[int], chosen: Planned | None = None, *, was_tried: bool = False
) -> list[CurvePoint]:
    """Find the best plan for the first 1, 2, 4, ... devices of a cluster.

    Each point may use fewer devices than there are, but for the last one where all have to be used.

    Args:
        problem: of the whole cluster.
        counts: numbers of devices, ascending.
        chosen: the plan for all devices, on which more effort was spent than on a point.
        was_tried: whether it was the fastest when it ran, whatever is predicted.
    """
    points: list[CurvePoint] = []
    for count in counts:
        is_whole = count == len(problem.cluster.devices)
        if is_whole and chosen is not None and (was_tried or problem.options.uses_all):
            # What will run, and not what the first few devices could do.
            points.append(CurvePoint(count, chosen if was_tried or chosen.fits else None))
            continue
        best = _best_of(problem, count)
        if is_whole and chosen is not None and chosen.fits:
            best = chosen if best is None or chosen.step_ms <= best.step_ms else best
        before = points[-1].planned if points else None
        # What some devices can do, more of them can, too.
        if before is not None and (best is None or before.step_ms < best.step_ms):
            best = before
        points.append(CurvePoint(count, best))
    return points


def device_counts(n_devices: int) -> list[int]:
    """Powers of two up to the number of devices, and that number."""
    powers = [2**power for power in range(n_devices.bit_length()) if 2**power < n_devices]
    return [*powers, n_devices]


def _best_of(problem: Problem, count: int) -> Planned | None:
    cluster = replace(problem.cluster, devices=problem.cluster.devices[:count])
    widths = tuple(width for width in problem.options.data_parallel if width <= count)
    options = replace(problem.options, data_parallel=widths or (1,), uses_all=False)
    try:
        few = replace(problem, cluster=cluster, options=options)
        best = search(few, MOST_ACTIONS_OF_A_POINT).best
    except UsageError:
        return None
    return best if best.fits else None


def _step_ms(planned: Planned) -> float:
    return planned.step_ms


def pays_until(curve: Sequence[CurvePoint], gain: float = 0.1) -> int:
    """Return the number of devices beyond which more of them no longer pay.

    Args:
        curve: by ascending number of devices.
        gain: the least by which a step has to get faster, as a share, for more devices to pay.
    """
    last = next((point for point in curve if point.planned is not None), curve[0])
    for point in curve:
        if point.planned is None or last.planned is None:
            continue
        if point.planned.step_ms < (1 - gain) * last.planned.step_ms:
            last = point
    return last.n_devices
