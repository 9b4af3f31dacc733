"""Ranks that are forked from one process, which has imported torch and Lightning for all of them.

That saves seconds a rank. For programs of their own only: the process of the tests has threads,
which a fork would leave behind.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkProcess

import torch
from lightning.pytorch.utilities import rank_zero_only

from tests.rank_processes import free_port, rank_environment


def fork_ranks(n_ranks: int, work: Callable[[], None]) -> list[ForkProcess]:
    """Start the ranks of a world, each of which does the same work."""
    port = free_port()
    fork = multiprocessing.get_context("fork")
    processes = [
        fork.Process(target=_be_rank, args=(rank_environment(rank, n_ranks, port), work))
        for rank in range(n_ranks)
    ]
    for process in processes:
        process.start()
    return processes


def all_end_well(processes: Sequence[ForkProcess], within_s: float) -> bool:
    """Wait until all have ended, those too that have to be killed for it."""
    end = time.monotonic() + within_s
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
        process.kill()
        process.join()
    return all(process.exitcode == 0 for process in processes)


def _be_rank(environment: dict[str, str], work: Callable[[], None]) -> None:
    os.environ |= environment
    torch.set_num_threads(1)
    # Lightning has read it when it was imported, before this process was a rank.
    rank_zero_only.rank = int(environment["RANK"])
    work()
