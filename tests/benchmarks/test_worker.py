"""The driver's end of a worker, with its processes stood in for."""

from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.samples import Step, Turn
from benchmarks.variants import WholeGRU
from benchmarks.worker import RankWorker, Worker

VARIANT = WholeGRU(1)
KILLED = SimpleNamespace(join=lambda **_: None, exitcode=-9)
TURN = Turn((Step(1.0, 1.0),), 1.0, ())


def a_worker(n_ranks: int) -> tuple[Worker, list[Connection]]:
    """A worker whose processes are all said to be killed, and their ends of the connections."""
    killed: Any = KILLED
    ends = [Pipe() for _ in range(n_ranks)]
    ranks = tuple(RankWorker(ours, killed) for ours, _ in ends)
    return Worker((VARIANT,), ranks, None), [theirs for _, theirs in ends]


def test_a_worker_that_was_killed_while_it_had_no_turn_is_a_failure_of_that_worker() -> None:
    worker, (theirs,) = a_worker(1)
    theirs.close()

    with pytest.raises(RuntimeError, match=r"of nn\.GRU 1 thread ended with exit status -9"):
        worker.turn(VARIANT, 1)


def test_a_worker_that_was_killed_before_it_read_its_request_is_a_failure_of_that_worker() -> None:
    worker, (theirs,) = a_worker(1)
    # What lies there unread makes the system reset the connection.
    worker.ranks[0].connection.send("a request")
    theirs.close()

    with pytest.raises(RuntimeError, match="ended with exit status -9"):
        worker.wait_until_ready()


@pytest.mark.timeout(10)
def test_a_rank_that_died_is_noticed_while_the_others_wait_for_it() -> None:
    worker, (_waits, theirs) = a_worker(2)
    theirs.close()

    with pytest.raises(RuntimeError, match="ended with exit status -9"):
        worker.wait_until_ready()


def test_the_turns_of_ranks_are_joined_whoever_answers_first() -> None:
    worker, (first, second) = a_worker(2)
    second.send(TURN)
    first.send(TURN)

    assert len(worker.turn(VARIANT, 1).steps) == 1
