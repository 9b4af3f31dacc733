"""The schedules by name, built and checked once for each (name, S, M, C)."""

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from functools import cache

from gru_parallel.errors import UsageError
from gru_parallel.schedule.action import Action, Op
from gru_parallel.schedule.gpipe import gpipe
from gru_parallel.schedule.naive import naive
from gru_parallel.schedule.one_f_one_b import one_f_one_b
from gru_parallel.schedule.schedule import Schedule
from gru_parallel.schedule.validate import validate

ScheduleFunction = Callable[[int, int, int], tuple[tuple[Action, ...], ...]]

SCHEDULES: dict[str, ScheduleFunction] = {
    "gpipe": gpipe,
    "one_f_one_b": one_f_one_b,
    "naive": naive,
}

_ONE_AT_A_TIME = frozenset({"naive"})


@cache
def build_schedule(name: str, n_stages: int, n_micro_batches: int, n_chunks: int) -> Schedule:
    """Build a training schedule of F and B; equal arguments give the same object.

    Args:
        name: one of `SCHEDULES`.
        n_stages: number of stages, at least 1.
        n_micro_batches: number of micro-batches, at least 1.
        n_chunks: number of chunks, at least 1.

    Returns:
        The schedule, not lowered.

    Raises:
        UsageError: no schedule has this name, or a number is below 1.
        ScheduleError: the schedule's own function gave lists that are wrong.
    """
    if name not in SCHEDULES:
        raise UsageError(_unknown_name(name))
    _check_at_least_one("n_stages", n_stages)
    _check_at_least_one("schedule.n_micro_batches", n_micro_batches)
    _check_at_least_one("schedule.n_chunks", n_chunks)
    schedule = Schedule(
        name=name,
        n_stages=n_stages,
        n_micro_batches=n_micro_batches,
        n_chunks=n_chunks,
        actions=SCHEDULES[name](n_stages, n_micro_batches, n_chunks),
        one_at_a_time=name in _ONE_AT_A_TIME,
    )
    validate(schedule)
    return schedule


@cache
def forward_only(name: str, n_stages: int, n_micro_batches: int, n_chunks: int) -> Schedule:
    """Build the F of a training schedule, in its order: evaluation and prediction.

    Args:
        name: one of `SCHEDULES`.
        n_stages: number of stages, at least 1.
        n_micro_batches: number of micro-batches, at least 1.
        n_chunks: number of chunks, at least 1.

    Returns:
        The schedule, not lowered.

    Raises:
        UsageError: as `build_schedule`.
    """
    training = build_schedule(name, n_stages, n_micro_batches, n_chunks)
    return replace(
        training,
        actions=tuple(
            tuple(action for action in stage if action.op is Op.F) for stage in training.actions
        ),
    )


def _unknown_name(name: str) -> str:
    nearest = get_close_matches(name.lower(), SCHEDULES, n=1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    return f"schedule.name={name} is not a schedule; {hint}use one of {', '.join(SCHEDULES)}."


def _check_at_least_one(setting: str, value: int) -> None:
    if value < 1:
        raise UsageError(
            f"{setting}={value} must be at least 1; use {setting}=1 to leave it uncut."
        )
