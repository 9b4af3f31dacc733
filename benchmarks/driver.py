"""Measures a shape: rounds in which every variant takes its turn, until enough were undisturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, process_time
from typing import TypeVar

from benchmarks.machine_time import read_machine_time
from benchmarks.samples import Round, ShapeRun
from benchmarks.shapes import Shape
from benchmarks.variants import Variant
from benchmarks.worker import Worker

T = TypeVar("T")

MAX_STOLEN = 0.02
"""A round that lost a larger share of the machine's time to other guests is left out."""


@dataclass(frozen=True)
class Limits:
    """How long to measure a shape.

    Attributes:
        n_rounds: undisturbed rounds wanted.
        max_rounds: rounds run in search of them.
        n_steps: measured steps of each turn.
        seconds: no round is begun that would not end by then; but one is always run.
    """

    n_rounds: int
    max_rounds: int
    n_steps: int
    seconds: float


def undisturbed(rounds: Sequence[Round]) -> tuple[Round, ...]:
    """Return the rounds that lost little enough to steal; all where steal is unknown."""
    return tuple(r for r in rounds if r.stolen is None or r.stolen <= MAX_STOLEN)


def measure(
    shape: Shape,
    variants: Sequence[Variant],
    limits: Limits,
    on_round: Callable[[Sequence[Round]], None],
) -> ShapeRun:
    """Measure every variant that fits a shape.

    Args:
        shape: the size of the step.
        variants: what to measure; those that do not fit the shape are left out.
        limits: how long.
        on_round: called with all rounds so far after each of them.

    Returns:
        All rounds, disturbed ones included.

    Raises:
        RuntimeError: a worker failed.
    """
    start = monotonic()
    fitting = tuple(variant for variant in variants if variant.fits(shape))
    rounds: list[Round] = []
    with _workers(fitting, shape) as workers:
        begun = monotonic()
        while not rounds or go_on(rounds, limits, monotonic() - start, monotonic() - begun):
            rounds.append(_run_round(rotated(fitting, len(rounds)), workers, limits.n_steps))
            on_round(rounds)
    return ShapeRun(shape, fitting, tuple(rounds), limits.n_rounds)


def rotated(items: Sequence[T], places: int) -> tuple[T, ...]:
    """Return the items in order, but begun `places` further on, so that none is always first."""
    first = places % len(items)
    return (*items[first:], *items[:first])


def go_on(rounds: Sequence[Round], limits: Limits, elapsed_s: float, in_rounds_s: float) -> bool:
    """Say whether another round is wanted and fits.

    Args:
        rounds: those run so far, at least one.
        limits: how long to measure.
        elapsed_s: time taken so far.
        in_rounds_s: the part of it that the rounds took; the next one is assumed to be average.
    """
    if len(undisturbed(rounds)) >= limits.n_rounds or len(rounds) >= limits.max_rounds:
        return False
    return elapsed_s + in_rounds_s / len(rounds) <= limits.seconds


def sharing(variants: Sequence[Variant]) -> list[tuple[Variant, ...]]:
    """Tell which variants share a worker.

    A variant of one process has a worker of its own. Those of several ranks share one by kind:
    ranks watch over each other even while they have nothing to do, and many would be a disturbance.
    """
    groups: dict[object, list[Variant]] = {}
    for variant in variants:
        groups.setdefault(type(variant) if variant.n_ranks > 1 else variant, []).append(variant)
    return [tuple(group) for group in groups.values()]


@contextmanager
def _workers(variants: Sequence[Variant], shape: Shape) -> Iterator[Mapping[Variant, Worker]]:
    """Start the workers and give out that of each variant."""
    workers: list[Worker] = []
    try:
        for shared in sharing(variants):
            workers.append(Worker.start(shared, shape))
        for worker in workers:
            worker.wait_until_ready()
        yield {variant: worker for worker in workers for variant in worker.variants}
    finally:
        # All at once, and only then one after the other: an end takes a while.
        for worker in workers:
            worker.let_go()
        for worker in workers:
            worker.stop()


def _run_round(
    variants: Sequence[Variant], workers: Mapping[Variant, Worker], n_steps: int
) -> Round:
    before, our_start = read_machine_time(), process_time()
    turns = {variant: workers[variant].turn(variant, n_steps) for variant in variants}
    ours_ms = (process_time() - our_start) * 1e3 + sum(turn.cpu_ms for turn in turns.values())
    after = read_machine_time()
    if before is None or after is None:
        return Round(turns, None, None)
    passed = after - before
    return Round(turns, passed.stolen, passed.others(ours_ms))
