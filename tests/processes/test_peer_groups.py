"""PeerGroups: one process group per direction between stages on different ranks, and no others."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import pytest
import torch
import torch.distributed as dist

from gru_parallel.processes.peer_groups import PeerGroups
from gru_parallel.ranks import Ranks
from gru_parallel.schedule import Action, Schedule, build_schedule, lower


class CountingRanks:
    """Makes no groups, but notes of whom they would be."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.groups: list[tuple[int, ...]] = []

    def new_group(self, members: Sequence[int], backend: str) -> str:
        assert backend == "gloo"
        self.groups.append(tuple(members))
        return f"group {len(self.groups) - 1}"

    def waiting(self, what: str) -> AbstractContextManager[None]:
        return nullcontext()


def lowered(n_stages: int, schedule: str = "one_f_one_b") -> Schedule:
    return lower(build_schedule(schedule, n_stages, 2, 3))


def groups_of(
    rank: int, rank_of_stage: Sequence[int], schedule: str = "one_f_one_b"
) -> tuple[PeerGroups, list[tuple[int, ...]]]:
    ranks = CountingRanks(rank)
    made = PeerGroups(
        cast("Ranks", ranks), rank_of_stage, lowered(len(rank_of_stage), schedule), "gloo"
    )
    return made, ranks.groups


def find(peers: PeerGroups, text: str) -> Any:
    return peers.find(Action.parse(text))


@pytest.mark.parametrize("first_rank", [0, 4])
def test_neighbours_have_a_group_for_each_direction(first_rank: int) -> None:
    rank_of_stage = range(first_rank, first_rank + 3)
    groups = [groups_of(rank, rank_of_stage)[1] for rank in rank_of_stage]

    a, b, c = rank_of_stage
    assert groups == [
        [(a, b), (b, a)],
        [(a, b), (b, a), (b, c), (c, b)],
        [(b, c), (c, b)],
    ]


def test_both_ends_of_a_direction_find_its_group_and_each_other() -> None:
    first, second = (groups_of(rank, (0, 1))[0] for rank in (0, 1))

    assert find(first, "0SEND_F1.2") == ("group 0", 1)
    assert find(second, "1RECV_F1.2") == ("group 0", 0)
    assert find(second, "1SEND_B1.2") == ("group 1", 0)
    assert find(first, "0RECV_B1.2") == ("group 1", 1)


def test_all_peers_are_tried_in_one_order_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, int, object]] = []
    for name in ("send", "recv"):
        monkeypatch.setattr(
            dist, name, lambda _, rank, group, name=name: tried.append((name, rank, group))
        )
    for rank in (0, 1):
        peers, _ = groups_of(rank, (0, 1))
        peers.connect(cast("Ranks", CountingRanks(rank)), torch.device("cpu"))

    assert tried == [
        ("send", 1, "group 0"),
        ("recv", 1, "group 1"),
        ("recv", 0, "group 0"),
        ("send", 0, "group 1"),
    ]


def test_stages_of_one_rank_have_no_group_between_them() -> None:
    peers, groups = groups_of(0, (0, 0, 1, 1))

    assert groups == [(0, 1), (1, 0)]
    assert find(peers, "0SEND_F0.0") is None
    assert find(peers, "1SEND_B0.0") is None
    assert find(peers, "1SEND_F0.0")[1] == 1


def test_two_boundaries_between_the_same_ranks_have_groups_of_their_own() -> None:
    peers, groups = groups_of(1, (0, 1, 0, 1))

    assert sorted(groups) == [(0, 1)] * 3 + [(1, 0)] * 3
    found = [find(peers, text)[0] for text in ("1RECV_F0.0", "1SEND_F0.0", "3RECV_F0.0")]
    found += [find(peers, text)[0] for text in ("1SEND_B0.0", "1RECV_B0.0", "3SEND_B0.0")]
    assert len(set(found)) == 6


def test_a_ring_is_closed_by_groups_of_its_ends() -> None:
    _, groups = groups_of(0, (0, 1, 2), "naive")

    assert sorted(groups) == [(0, 1), (0, 2), (1, 0), (2, 0)]


def test_one_rank_alone_has_no_group() -> None:
    assert groups_of(0, (0, 0, 0))[1] == []
