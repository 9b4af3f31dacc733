"""Ring: each rank notices at once when the process of the next one is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import torch
import torch.distributed as dist

from gru_parallel.ranks.break_off import break_off

FOREVER = timedelta(days=300)
GOODBYE_S = 5.0


class Ring:
    """Waits for a goodbye of the next rank; an error in its place means that the rank is gone.

    Args:
        group: a Gloo group over all ranks, for the ring alone.
        lost: called with the next rank when it is gone, in a thread of the ring's own.
    """

    def __init__(self, group: dist.ProcessGroup, lost: Callable[[int], None]) -> None:
        rank, n_ranks = dist.get_rank(), dist.get_world_size()
        self._next, self._previous = (rank + 1) % n_ranks, (rank - 1) % n_ranks
        self._group = group
        self._lost = lost
        self._ending = False
        self._thread = threading.Thread(target=self._wait, name="gru_parallel ring", daemon=True)
        self._thread.start()

    def say_goodbye(self) -> None:
        """Tell the rank before this one that the end is an orderly one, and hear the next one's."""
        with suppress(RuntimeError):
            work = dist.isend(torch.ones(1), self._previous, group=self._group)
            if work is not None:
                work.wait(timedelta(seconds=GOODBYE_S))
        self._thread.join(GOODBYE_S)
        self.stop()

    def stop(self) -> None:
        """Watch over the next rank no longer."""
        self._ending = True
        if self._thread.is_alive():
            break_off(self._group)
            self._thread.join(GOODBYE_S)

    def _wait(self) -> None:
        try:
            work = dist.irecv(torch.empty(1), self._next, group=self._group)
            assert work is not None
            work.wait(FOREVER)
        except RuntimeError:
            if not self._ending:
                self._lost(self._next)
