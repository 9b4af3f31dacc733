"""Ranks that do not see the folder of rank 0 are refused, whatever is there under its path."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from gru_parallel.app import shared_folder
from gru_parallel.app.shared_folder import check_shared
from gru_parallel.errors import UsageError
from gru_parallel.ranks import Ranks


@dataclass
class FakeRanks:
    """One of two ranks.

    Attributes:
        is_first: whether it is rank 0.
        name: of the file that rank 0 writes, if it is the other one.
        other_sees: whether the other one sees it, each time it looks; then it does.
        n_looks: how often both have looked.
    """

    is_first: bool
    name: str | None = None
    other_sees: Sequence[bool] = ()
    n_looks: int = field(default=0, init=False)

    def broadcast(self, thing: Any, what: str) -> Any:
        return thing if self.is_first else self.name

    def gather(self, thing: Any, what: str) -> list[Any]:
        if isinstance(thing, str):
            return ["node0", "node1"]
        self.n_looks += 1
        other = self.n_looks > len(self.other_sees) or self.other_sees[self.n_looks - 1]
        return [thing, other] if self.is_first else [other, thing]


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_folder, "WAIT_S", 0.03)
    monkeypatch.setattr(shared_folder, "POLL_S", 0.01)


def check(folder: Path, ranks: FakeRanks) -> None:
    check_shared(folder, cast("Ranks", ranks))


def test_a_folder_that_all_see_is_left_as_it_was(tmp_path: Path) -> None:
    first, late = FakeRanks(is_first=True), FakeRanks(is_first=True, other_sees=[False])
    check(tmp_path, first)
    check(tmp_path, late)

    assert (first.n_looks, late.n_looks) == (1, 2)
    assert list(tmp_path.iterdir()) == []


def test_both_ranks_refuse_a_folder_that_one_does_not_see(tmp_path: Path) -> None:
    message = r"^Rank 1 on node1 does not see what rank 0 on node0 writes into hydra\.run\.dir="
    first, other = FakeRanks(is_first=True, other_sees=[False] * 3), FakeRanks(False, "mark")
    for rank in (first, other):
        with pytest.raises(UsageError, match=message):
            check(tmp_path, rank)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_left_to_who_writes_next(tmp_path: Path) -> None:
    check(tmp_path / "none", FakeRanks(is_first=True))
    check(tmp_path / "none", FakeRanks(is_first=False))
