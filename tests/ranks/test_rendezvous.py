import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from torch.distributed import HashStore

from gru_parallel.ranks import Launch, RankError
from gru_parallel.ranks.rendezvous import Rendezvous, meet
from tests.rank_processes import start

ALL_MEET_WITHIN_S = 20.0

JOIN = """
import os
from gru_parallel.errors import UsageError
from gru_parallel.ranks import Launch, RankError, join

try:
    join(Launch.from_environment(), timeout_s=float(os.environ["TIMEOUT_S"]))
except (UsageError, RankError) as error:
    print(type(error).__name__, error)
"""


def test_an_occupied_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with start(2, JOIN, port=port, environment={"TIMEOUT_S": "0.5"}) as processes:
            host, other = processes.ends()

    assert f"UsageError Rank 0 must be able to host the store of the run at 127.0.0.1:{port}" in (
        host.stdout
    )
    assert "choose one that is free with torchrun --master-port" in host.stdout
    assert f"RankError waited for rank 0 at 127.0.0.1:{port}" in other.stdout


def test_missing_ranks_are_counted_and_one_that_registers_twice_is_refused() -> None:
    with start(3, JOIN, ranks=[0, 1, 1], environment={"TIMEOUT_S": "2"}) as processes:
        said = sorted(one.stdout for one in processes.ends())

    for text in said[:2]:
        assert text.startswith("RankError 2 of 3 ranks have registered at 127.0.0.1:")
        assert (
            "within 2 s, without rank 2; start all 3 ranks, or give them more time with engine"
            in text
        )
    assert said[2].startswith(
        "UsageError Each rank must be one process, and another has registered"
    )


def launches(n_ranks: int, *attempts: int) -> list[Launch]:
    """What launchers that host the store tell ranks, each of a machine with attempts of its own."""
    first = Launch(0, n_ranks, 0, 1, "127.0.0.1", 29500, 0, uses_agent_store=True)
    return [replace(first, rank=rank, attempt=n) for rank, n in enumerate(attempts)]


def meet_at(store: HashStore, ranks: list[Launch]) -> list[Rendezvous]:
    with ThreadPoolExecutor(len(ranks)) as pool:
        met = [pool.submit(meet, store, rank, ALL_MEET_WITHIN_S) for rank in ranks]
        return [each.result() for each in met]


def test_ranks_meet_again_whatever_each_machine_counts_as_an_attempt() -> None:
    store = HashStore()

    first = meet_at(store, launches(3, 0, 0, 0))
    second = meet_at(store, launches(3, 0, 1, 3))

    assert [{one.n_before for one in met} for met in (first, second)] == [{0}, {1}]
    assert len(set(first)) == len(set(second)) == 1
    assert first[0].name != second[0].name


def test_a_rank_that_rank_0_has_not_invited_says_so() -> None:
    store = HashStore()
    meet_at(store, launches(3, 0, 0, 0))

    with pytest.raises(
        RankError, match=r"rank 0 has not registered at 127\.0\.0\.1:29500 within 0\.2 s"
    ):
        meet(store, launches(3, 1, 1, 1)[1], 0.2)


def test_ranks_do_not_meet_processes_that_have_ended() -> None:
    store = HashStore()
    meet_at(store, launches(3, 0, 0, 0))
    first, _, last = launches(3, 1, 1, 1)

    with ThreadPoolExecutor(2) as pool:
        met = [pool.submit(meet, store, rank, 0.3) for rank in (first, last)]

    error = met[0].exception()
    assert isinstance(error, RankError)
    assert "2 of 3 ranks have registered at 127.0.0.1:29500 within 0.3 s, without rank 1;" in str(
        error
    )


def test_late_ranks_meet_those_that_were_invited_in_vain() -> None:
    store = HashStore()
    meet_at(store, launches(3, 0, 0, 0))
    first, *others = launches(3, 1, 1, 1)
    invitation = store.get("invitation")

    with ThreadPoolExecutor(3) as pool:
        early = pool.submit(meet, store, first, ALL_MEET_WITHIN_S)
        # It invites the two that have ended, and then each anew.
        while store.get("invitation") == invitation and not early.done():
            time.sleep(0.01)
        late = [pool.submit(meet, store, rank, ALL_MEET_WITHIN_S) for rank in others]
        assert {each.result() for each in late} == {early.result()}
