"""Ranks that would use the weights of different checkpoints are refused."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gru_parallel.assembly.reuse import Reuse
from gru_parallel.data import Share
from gru_parallel.errors import UsageError
from gru_parallel.ranks import Launch, Ranks
from tests.builders import make_plan


class FakeRanks:
    """A rank beside another one, which has said what it has."""

    launch = Launch(0, 1, 0, 1, "127.0.0.1", 29500, 0, uses_agent_store=False)

    def __init__(self, other: Any = None) -> None:
        self.other = other
        self.said: Any = None

    def gather(self, thing: Any, what: str) -> list[Any]:
        if isinstance(thing, dict):
            self.said = thing
        return [thing] if self.other is None or not isinstance(thing, dict) else [thing, self.other]


def of_checkpoint(saved_at: float | None) -> Reuse:
    saved = {} if saved_at is None else {"saved_at": saved_at}
    run = cast("Any", SimpleNamespace(saved=saved))
    return Reuse(run, cast("Any", None), make_plan([4]), cast("Any", None), Share())


def test_a_checkpoint_is_told_from_another_by_when_it_was_written() -> None:
    first = FakeRanks()
    of_checkpoint(1795962372.25).check_together(cast("Ranks", first))
    second = cast("Ranks", FakeRanks(first.said))

    of_checkpoint(1795962372.25).check_together(second)
    for other in (1795962372.251, None):
        with pytest.raises(UsageError, match=r"must have the same checkpoint; rank 0: written at "):
            of_checkpoint(other).check_together(second)
