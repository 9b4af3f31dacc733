"""The schedules by name, built and checked once for each (name, S, M, C)."""

from collections.abc import Collection
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache

from gru_parallel.errors import ScheduleError, UsageError, check_positive
from gru_parallel.own_names import is_own
from gru_parallel.schedule.action import Op
from gru_parallel.schedule.gpipe import gpipe
from gru_parallel.schedule.naive import naive
from gru_parallel.schedule.one_f_one_b import one_f_one_b
from gru_parallel.schedule.own_schedule import own_schedule
from gru_parallel.schedule.schedule import Schedule
from gru_parallel.schedule.segments import Segments
from gru_parallel.schedule.truncated import ScheduleFunction, truncated
from gru_parallel.schedule.validate import validate
from gru_parallel.schedule.zero_bubble import zero_bubble

SCHEDULES: dict[str, ScheduleFunction] = {
    "gpipe": gpipe,
    "one_f_one_b": one_f_one_b,
    "zero_bubble": zero_bubble,
    "naive": naive,
}

_ONE_AT_A_TIME = frozenset({"naive"})


@lru_cache(maxsize=32)  # A search builds many, and those of many cells are large.
def build_schedule(
    name: str,
    n_stages: int,
    n_micro_batches: int,
    n_chunks: int,
    truncate: int | None = None,
    barriers: frozenset[int] = frozenset(),
) -> Schedule:
    """Build a training schedule of F, B and possibly W; equal arguments give the same object.

    Args:
        name: one of `SCHEDULES`, or the full name of a function of the caller's own.
        n_stages: number of stages, at least 1.
        n_micro_batches: number of micro-batches, at least 1.
        n_chunks: number of chunks, at least 1.
        truncate: number of chunks after which dL/dh is cut, at least 1; None never cuts it.
        barriers: the stages that hold a barrier in time.

    Returns:
        The schedule, not lowered.

    Raises:
        UsageError: no schedule has this name, a number is below 1, there are both `truncate` and a
            barrier, or the caller's own function returned lists that cannot work.
        ScheduleError: a function of `SCHEDULES` did.
    """
    function = own_schedule(name) if is_own(name) else SCHEDULES.get(name)
    if function is None:
        raise UsageError(_unknown_name(name))
    check_positive("n_stages", n_stages)
    check_positive("schedule.n_micro_batches", n_micro_batches)
    check_positive("schedule.n_chunks", n_chunks)
    if truncate is not None:
        check_positive("schedule.truncate", truncate)
        if barriers:
            raise UsageError(
                f"schedule.truncate={truncate} cannot be used with a barrier in time, here on stage"
                f" {min(barriers)}: a bidirectional block, or one with h_0=previous, needs the"
                " whole window at once; leave schedule.truncate out."
            )
    segments = Segments(n_chunks, truncate)
    schedule = Schedule(
        name=name,
        n_stages=n_stages,
        n_micro_batches=n_micro_batches,
        n_chunks=n_chunks,
        actions=truncated(function, n_stages, n_micro_batches, segments),
        one_at_a_time=name in _ONE_AT_A_TIME,
        truncate=truncate,
        barriers=barriers,
    )
    try:
        validate(schedule)
    except ScheduleError as error:
        if not is_own(name):
            raise
        raise UsageError(f"schedule.name={error}") from error
    return schedule


def forward_only(training: Schedule) -> Schedule:
    """Take the F of a training schedule, in its order: for evaluation and prediction."""
    return _only({Op.F}, training)


def backward_only(training: Schedule) -> Schedule:
    """Take the B and W of a training schedule, in its order: it continues `forward_only`."""
    return _only({Op.B, Op.W}, training)


def _only(ops: Collection[Op], training: Schedule) -> Schedule:
    return replace(
        training,
        actions=tuple(
            tuple(action for action in stage if action.op in ops) for stage in training.actions
        ),
    )


def _unknown_name(name: str) -> str:
    nearest = get_close_matches(name.lower(), SCHEDULES, n=1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    return (
        f"schedule.name={name} is not a schedule; {hint}use one of {', '.join(SCHEDULES)}, or"
        " package.module.name, one of your own."
    )
