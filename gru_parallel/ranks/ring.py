"""Ring: each rank notices at once when the process of the next one is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import torch
import torch.distributed as dist

from gru_parallel.ranks.abort import abort

FOREVER = timedelta(days=300)
GOODBYE_S = 5.0


class Ring:
    """Waits for a goodbye from the next rank; an error instead means that the rank is gone.

    Args:
        group: a Gloo group over all ranks, for the ring alone.
        lost: called with the next rank when it is gone, in the ring's thread.
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
        """Tell the previous rank that this one ends in order, and wait for the next goodbye."""
        with suppress(RuntimeError):
            work = dist.isend(torch.ones(1), self._previous, group=self._group)
            if work is not None:
                work.wait(timedelta(seconds=GOODBYE_S))
        self._thread.join(GOODBYE_S)
        self.stop()

    def stop(self) -> None:
        """Stop watching the next rank."""
        self._ending = True
        if self._thread.is_alive():
            abort(self._group)
            self._thread.join(GOODBYE_S)

    def _wait(self) -> None:
        try:
            work = dist.irecv(torch.empty(1), self._next, group=self._group)
            assert work is not None
            work.wait(FOREVER)
        except RuntimeError:
            if not self._ending:
                self._lost(self._next)
