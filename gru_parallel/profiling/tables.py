"""Times a part of a model on cells of several sizes, beside other busy threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from threading import Barrier, Thread
from time import perf_counter

import torch

from gru_parallel.planning.cell_costs import CellTimes
from gru_parallel.planning.profile import Point
from gru_parallel.profiling.subjects import Subject

N_STEPS_OF_PASS = 64
"""A pass has about so many steps at least, so that short chunks come one after the other, as in a
pipeline, with what they keep pushed out of the caches."""


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        seconds: of one point; a step that takes longer is still run twice.
        n_passes: the most that are timed.
    """

    seconds: float = 0.06
    n_passes: int = 7


def cell_sizes(n_rows: int, n_steps: int) -> list[tuple[int, int]]:
    """Choose the cells to measure: rows and steps.

    All rows with ever shorter chunks, because chunks are what a pipeline is mostly cut into; and
    fewer rows with two lengths of chunks each.
    """
    lengths = [n_steps]
    while lengths[-1] > 2:
        lengths.append(max(2, lengths[-1] // 3))
    sizes = [(n_rows, steps) for steps in reversed(lengths)]
    rows = n_rows
    while rows > 1:
        rows = max(1, rows // 4)
        sizes += [(rows, steps) for steps in dict.fromkeys((max(1, n_steps // 8), n_steps))]
    return sizes


def few_cell_sizes(n_rows: int, n_steps: int) -> list[tuple[int, int]]:
    """Choose the cells to measure of what is chosen more seldom: the ends of both lines."""
    few = max(1, n_rows // 8)
    lengths = dict.fromkeys((min(2, n_steps), max(1, n_steps // 8), n_steps))
    sizes = [(n_rows, steps) for steps in lengths]
    return [*sizes, *((few, steps) for steps in list(lengths)[1:] if few < n_rows)]


def measure_points(
    make: Callable[[], Subject],
    sizes: Sequence[tuple[int, int]],
    n_busy: int,
    *,
    separates_weights: bool,
    most_steps: int,
    effort: Effort,
) -> list[Point]:
    """Time F, B and W of one stage on cells of several sizes.

    Args:
        make: makes the stage; each thread has one of its own.
        sizes: rows and steps of the cells.
        n_busy: threads that run it at the same time, each its own.
        separates_weights: whether W can be an action of its own, and is timed so, too.
        most_steps: of a window.
        effort: how long to measure.
    """
    subjects = [make() for _ in range(n_busy)]
    found: list[list[Point]] = [[] for _ in subjects]
    errors: list[BaseException] = []
    together = Barrier(n_busy)
    n_threads = torch.get_num_threads()

    def work(index: int) -> None:
        subject = subjects[index]
        try:
            subject.stage.lane.start()
            for rows, steps in sizes:
                together.wait()
                timing = _Timing(subject, rows, steps, most_steps, effort, n_busy == 1)
                times = timing.times(separates_weights=separates_weights)
                found[index].append(Point(rows, steps, times))
        except BaseException as error:  # noqa: BLE001  # raised again by the calling thread
            errors.append(error)
            together.abort()

    threads = [Thread(target=work, args=(index,), daemon=True) for index in range(n_busy)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A worker's intra-op count of one has also become MKL's for the whole process.
    torch.set_num_threads(n_threads)
    if errors:
        raise errors[0]
    return [_mean(same) for same in zip(*found, strict=True)]


@dataclass(frozen=True)
class _Timing:
    """Times cells of one size."""

    subject: Subject
    rows: int
    steps: int
    most_steps: int
    effort: Effort
    is_alone: bool

    def times(self, *, separates_weights: bool) -> CellTimes:
        """Return what one cell takes; W apart from B, too, if it can be."""
        forward, joint, _ = self._typical(separates_weights=False)
        if not separates_weights:
            return CellTimes(forward, joint, 0.0, joint)
        again, backward, weights = self._typical(separates_weights=True)
        return CellTimes(min(forward, again), backward, weights, joint)

    @property
    def _n_chunks(self) -> int:
        is_barrier = self.subject.stage.modules.is_barrier
        wanted = 1 if is_barrier else max(2, N_STEPS_OF_PASS // self.steps)
        return max(1, min(wanted, self.most_steps // self.steps))

    def _typical(self, *, separates_weights: bool) -> tuple[float, float, float]:
        n_chunks = self._n_chunks
        spec = self.subject.spec(
            self.rows, self.steps, n_chunks, separates_weights=separates_weights
        )
        make_pass = self.subject.passes(spec)

        def run() -> tuple[float, float, float]:
            return self.subject.run(spec, make_pass, is_alone=self.is_alone)

        run()
        end = perf_counter() + self.effort.seconds
        passes = [run(), run()]
        while len(passes) < self.effort.n_passes and perf_counter() < end:
            passes.append(run())
        forward, backward, weights = (
            median(of_op) / n_chunks for of_op in zip(*passes, strict=True)
        )
        return forward, backward, weights


def _mean(points: Sequence[Point]) -> Point:
    """The mean over threads of what was measured on one size of cells."""
    times = (sum(of_all) / len(points) for of_all in zip(*(p.times for p in points), strict=True))
    return Point(points[0].rows, points[0].steps, CellTimes(*times))
