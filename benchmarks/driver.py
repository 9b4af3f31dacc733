"""Measures a shape: rounds in which every variant takes its turn, until enough were undisturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from benchmarks.machine_time import read_machine_time
from benchmarks.process_time import own_cpu_ms
from benchmarks.samples import Round, ShapeRun
from benchmarks.shapes import Shape
from benchmarks.variant import Variant
from benchmarks.worker import Worker

T = TypeVar("T")
Choose = Callable[[Round], Sequence[Variant]]

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
    choose: Choose | None = None,
) -> ShapeRun:
    """Measure the variants that fit a shape.

    Args:
        shape: the size of the step.
        variants: what to measure; those that do not fit the shape are left out.
        limits: how long.
        on_round: called with all rounds so far after each of them.
        choose: from a round in which every variant runs once, with its memory measured, those that
            take part in all others; None for all, without such a round.

    Returns:
        All rounds, disturbed ones included.

    Raises:
        RuntimeError: a worker failed.
    """
    start = monotonic()
    fitting = tuple(variant for variant in variants if variant.fits(shape))
    rounds: list[Round] = []
    tried, chosen = None, fitting
    with _workers(fitting, shape) as workers:
        if choose is not None:
            tried = _run_round(fitting, workers, n_steps=1, with_memory=True)
            chosen = tuple(choose(tried))
        begun = monotonic()
        while not rounds or go_on(rounds, limits, monotonic() - start, monotonic() - begun):
            rounds.append(_run_round(rotated(chosen, len(rounds)), workers, limits.n_steps))
            on_round(rounds)
    return ShapeRun(shape, chosen, tuple(rounds), limits.n_rounds, tried)


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
    """Tell which variants share a worker."""
    groups: dict[object, list[Variant]] = {}
    for variant in variants:
        groups.setdefault(variant.worker, []).append(variant)
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
    variants: Sequence[Variant],
    workers: Mapping[Variant, Worker],
    n_steps: int,
    *,
    with_memory: bool = False,
) -> Round:
    before, our_start_ms = read_machine_time(), own_cpu_ms()
    turns = {
        variant: workers[variant].turn(variant, n_steps, with_memory=with_memory)
        for variant in variants
    }
    # Idle workers included: ranks watch each other even while others have their turn.
    ours_ms = own_cpu_ms() - our_start_ms
    after = read_machine_time()
    if before is None or after is None:
        return Round(turns, None, None)
    passed = after - before
    return Round(turns, passed.stolen, passed.others(ours_ms))
