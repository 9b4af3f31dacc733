"""A schedule of the user's own: what its function takes and returns is looked at first."""

from inspect import signature
from reprlib import repr as abridged
from typing import Any

from gru_parallel.errors import UsageError
from gru_parallel.own_names import own
from gru_parallel.schedule.action import Action
from gru_parallel.schedule.truncated import ScheduleFunction


def own_schedule(name: str) -> ScheduleFunction:
    """Import the function that has this full name.

    Args:
        name: package.module.name, as in schedule.name.

    Returns:
        The function. What it raises itself goes on to the caller; what it returns are tuples of
        actions, of whose order nothing is known yet, or there is a UsageError.

    Raises:
        UsageError: there is no such function.
    """
    function = own("schedule.name", name)

    def lists(n_stages: int, n_micro_batches: int, n_chunks: int) -> tuple[tuple[Action, ...], ...]:
        try:
            signature(function).bind(n_stages, n_micro_batches, n_chunks)
        except TypeError as error:
            raise UsageError(
                f"schedule.name={name} takes {signature(function)}, and is called with n_stages,"
                f" n_micro_batches and n_chunks, in this order: {error}."
            ) from error
        made = function(n_stages, n_micro_batches, n_chunks)
        if not _are_lists(made):
            raise UsageError(
                f"schedule.name={name} returned {abridged(made)}; return for each stage the tuple"
                " of its Actions (docs/extending.md)."
            )
        return tuple(map(tuple, made))

    return lists


def _are_lists(made: Any) -> bool:
    """Whether these are actions in lists, or tuples, in another one."""
    return isinstance(made, list | tuple) and all(
        isinstance(stage, list | tuple) and all(isinstance(action, Action) for action in stage)
        for stage in made
    )
