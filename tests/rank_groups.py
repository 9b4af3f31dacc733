"""The process groups of one engine of many that a rank makes, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from gru_parallel.ranks import Ranks


@contextmanager
def groups_end_here(ranks: Ranks) -> Iterator[None]:
    """End what groups were made inside the context; all ranks leave it together.

    They end with their process otherwise, and until then each has a thread that wakes up a hundred
    times a second.
    """
    world, watched = dist.distributed_c10d._world, ranks._watch._groups
    before = list(world.pg_map)
    yield
    ranks.barrier("all ranks to end their groups")
    watched[:] = [group for group in watched if group in before]
    for group in [group for group in world.pg_map if group not in before]:
        dist.destroy_process_group(group)
