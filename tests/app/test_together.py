"""Ranks begin together or not at all, and again from what they have written themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from gru_parallel.app.together import common_arguments, make_together
from gru_parallel.errors import UsageError
from gru_parallel.ranks import Launch, Ranks

LAUNCH = Launch(0, 2, 0, 2, "127.0.0.1", 29500, 0, uses_agent_store=True)
OWN_STORE = Launch(0, 2, 0, 2, "127.0.0.1", 29500, 0, uses_agent_store=False)


@dataclass
class FakeRanks:
    """Rank 0 of two attempts, which share a store if the launcher has it.

    Attributes:
        launch: of both.
        is_restart: whether this rank knows that it is not the first attempt.
        is_another_again: whether another rank does.
    """

    launch: Launch
    is_restart: bool = False
    is_another_again: bool = False
    is_first: bool = True
    remembered: dict[str, str] = field(default_factory=dict)

    def shared_text(self, key: str, make: Callable[[], str]) -> str:
        return self.remembered.setdefault(key, make())

    def any(self, flag: bool, what: str) -> bool:
        return flag or self.is_another_again

    def broadcast(self, thing: Any, what: str) -> Any:
        return thing


def goes_on(folder: Path, ranks: FakeRanks) -> bool:
    given = [f"hydra.run.dir={folder}", "init_from=other.ckpt"]
    arguments = common_arguments(given, folder, cast("Ranks", ranks))
    *_, init_from, ckpt_path = arguments
    return (init_from, ckpt_path) == ("init_from=null", "ckpt_path=last")


def last_of(folder: Path) -> Path:
    return folder / "checkpoints" / "last.ckpt"


def write(folder: Path, text: str) -> None:
    last_of(folder).parent.mkdir(exist_ok=True)
    last_of(folder).write_text(text)


def test_the_second_attempt_goes_on_from_the_checkpoint_of_the_first(tmp_path: Path) -> None:
    ranks = FakeRanks(LAUNCH)

    assert not goes_on(tmp_path, ranks)
    write(tmp_path, "of the first attempt")
    ranks.is_restart = True
    assert goes_on(tmp_path, ranks)


def test_a_checkpoint_that_was_there_before_the_run_is_not_its_own(tmp_path: Path) -> None:
    write(tmp_path, "of another run")
    ranks = FakeRanks(LAUNCH)

    assert not goes_on(tmp_path, ranks)
    ranks.is_restart = True
    assert not goes_on(tmp_path, ranks)
    write(tmp_path, "of the first attempt")
    assert goes_on(tmp_path, ranks)


def test_it_is_enough_that_one_rank_knows_of_the_first_attempt(tmp_path: Path) -> None:
    write(tmp_path, "of the first attempt")

    assert goes_on(tmp_path, FakeRanks(OWN_STORE, is_another_again=True))
    assert not goes_on(tmp_path, FakeRanks(OWN_STORE))


@dataclass
class RankBeside:
    """A rank beside the other of two, which had this problem.

    Attributes:
        rank: this one's number.
        problem: the other's; None for none.
    """

    rank: int
    problem: str | None = None

    def gather(self, thing: Any, what: str) -> list[Any]:
        return [thing, self.problem] if self.rank == 0 else [self.problem, thing]


def fails() -> str:
    raise UsageError("it has no server.")


def make(how: Callable[[], str], rank: RankBeside) -> str | None:
    return make_together(how, cast("Ranks", rank))


def test_what_one_rank_cannot_make_no_rank_has_and_that_one_says_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert make(fails, RankBeside(0)) is None
    assert capsys.readouterr().err == "gru_parallel: it has no server.\n"
    assert make(lambda: "a logger", RankBeside(1, "it has no server.")) is None
    assert make(fails, RankBeside(1, "it has no server.")) is None
    assert capsys.readouterr().err == ""
    assert make(lambda: "a logger", RankBeside(1)) == "a logger"
