import re
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.rank_processes import Ended, start

LATEST_END_S = 10.0
TIMEOUT_S = 5.0
ENDLESS_S = 60.0

# Each rank waits for a tensor of the next one, until one of them, HARMED, does what HARM says.
WORLD = """
import os, time
import torch, torch.distributed as dist
from gru_parallel.ranks import Launch, join

with join(Launch.from_environment(), timeout_s=float(os.environ["TIMEOUT_S"])) as ranks:
    rank, last = ranks.rank, ranks.world_size - 1
    hops = [(source, source + 1) for source in range(last)]
    groups = {hop: ranks.new_group(hop) for hop in hops if rank in hop}
    ranks.record(f"stage {rank} ran {rank}F0.3")
    ranks.barrier("all ranks to begin")
    harm = os.environ["HARM"]
    if harm != "raise":
        time.sleep(1.3)  # Until the note is published.
    print("ready")
    if rank == int(os.environ["HARMED"]):
        if harm == "raise":
            raise ValueError("the batch is odd")
        while True:
            if harm != "spin":
                time.sleep(0.01)
    if rank == 3:
        while True:
            time.sleep(0.01)
    source = rank - 1 if rank == last else rank + 1
    group = groups[min(rank, source), max(rank, source)]
    with ranks.waiting(f"stage {rank} ran {rank}RECV_B0.7"):
        dist.irecv(torch.empty(4), source, group=group).wait()
"""


def survivors(
    n_ranks: int, harmed: int, harm: signal.Signals | str, timeout_s: float = ENDLESS_S
) -> list[Ended]:
    """How the ranks end: the others, and the harmed one where it still can."""
    variables = {"HARMED": str(harmed), "HARM": str(harm), "TIMEOUT_S": str(timeout_s)}
    with start(n_ranks, WORLD, environment=variables) as processes:
        for rank in range(n_ranks):
            processes.wait_for(rank, "ready")
        if isinstance(harm, signal.Signals):
            processes.signal(harmed, harm)
        gone = {harmed} if isinstance(harm, signal.Signals) else set()
        return processes.ends([rank for rank in range(n_ranks) if rank not in gone])


Worlds = dict[str, Future[list[Ended]]]


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    # All at once, because they mostly wait.
    with ThreadPoolExecutor() as pool:
        yield {
            "looping": pool.submit(survivors, 2, 1, "loop", TIMEOUT_S),
            "first stopped": pool.submit(survivors, 2, 0, signal.SIGSTOP, TIMEOUT_S),
            "killed": pool.submit(survivors, 4, 2, signal.SIGKILL),
            "stopped": pool.submit(survivors, 2, 1, signal.SIGSTOP, TIMEOUT_S),
            "raising": pool.submit(survivors, 3, 2, "raise"),
            "first killed": pool.submit(survivors, 2, 0, signal.SIGKILL),
        }


def check_ends(ended: list[Ended], happened: str, within_s: float = LATEST_END_S) -> None:
    """Check that ranks from 0 on say what happened and what they waited for, in time."""
    for rank, one in enumerate(ended):
        own = f"rank {rank} was waiting: stage {rank} ran {rank}RECV_B0.7"
        assert one.status == 1
        assert one.stderr.rstrip().endswith(f"RankError: {happened}; {own}")
        assert one.after_s < within_s


def test_a_rank_that_raises_ends_the_others_at_once(worlds: Worlds) -> None:
    check_ends(
        worlds["raising"].result()[:2],
        "rank 2 failed while stage 2 ran 2F0.3: ValueError: the batch is odd",
    )


def test_a_killed_rank_ends_the_others_though_it_is_no_neighbour_of_all(worlds: Worlds) -> None:
    check_ends(
        worlds["killed"].result()[:2],
        "rank 2 ended without a report (killed, or its machine is gone); it was last seen while "
        "stage 2 ran 2F0.3",
    )


def test_a_rank_that_does_not_communicate_is_ended_too(worlds: Worlds) -> None:
    computing = worlds["killed"].result()[2]

    assert computing.status == 1
    assert computing.after_s < LATEST_END_S
    assert computing.stderr == (
        "gru_parallel: rank 3: rank 2 ended without a report (killed, or its machine is gone); it "
        "was last seen while stage 2 ran 2F0.3; rank 3 was busy: stage 3 ran 3F0.3\n"
    )


def test_a_stopped_rank_is_named_after_the_timeout(worlds: Worlds) -> None:
    check_ends(
        worlds["stopped"].result(),
        "rank 1 has not answered for engine.timeout_s=5 s; it was last seen while stage 1 ran "
        "1F0.3",
        TIMEOUT_S + LATEST_END_S,
    )


def check_looping_named(ended: Ended) -> None:
    check_ends(
        [ended],
        "rank 1 has not answered for engine.timeout_s=5 s; it was last seen while stage 1 ran "
        "1F0.3",
        TIMEOUT_S + LATEST_END_S,
    )


def check_looping_ended(looping: Ended) -> None:
    assert looping.status == 1
    assert looping.after_s < TIMEOUT_S + LATEST_END_S
    assert looping.stderr == (
        "gru_parallel: rank 1: rank 1 has not answered for engine.timeout_s=5 s; it was last seen "
        "while stage 1 ran 1F0.3; rank 1 was busy: stage 1 ran 1F0.3\n"
    )


def test_a_rank_in_an_endless_loop_is_named_after_the_timeout(worlds: Worlds) -> None:
    check_looping_named(worlds["looping"].result()[0])


def test_a_rank_in_an_endless_loop_is_ended_too(worlds: Worlds) -> None:
    check_looping_ended(worlds["looping"].result()[1])


@pytest.mark.long
def test_a_rank_that_spins_in_an_endless_loop_is_named_and_ended_too() -> None:
    other, spinning = survivors(2, 1, "spin", TIMEOUT_S)

    check_looping_named(other)
    check_looping_ended(spinning)


def test_a_store_that_stopped_with_its_host_is_named(worlds: Worlds) -> None:
    (ended,) = worlds["first stopped"].result()

    assert ended.status == 1
    assert ended.after_s < TIMEOUT_S + LATEST_END_S
    assert re.search(
        r"RankError: rank 0 has not answered for engine.timeout_s=5 s, and with it the store of "
        r"the run at 127.0.0.1:\d+; rank 1 was waiting: stage 1 ran 1RECV_B0.7",
        ended.stderr,
    )


def test_a_store_that_ended_with_its_host_is_named(worlds: Worlds) -> None:
    (ended,) = worlds["first killed"].result()

    assert ended.status == 1
    assert ended.after_s < LATEST_END_S
    assert re.search(
        r"RankError: rank 0 ended without a report, and with it the store of the run at 127.0.0."
        r"1:\d+; rank 1 was waiting: stage 1 ran 1RECV_B0.7",
        ended.stderr,
    )
