"""How to make a process group by its members alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import torch.distributed as dist


class Groups:
    """Makes process groups, each by its members alone.

    `torch.distributed` names a group after how many groups a rank has made, and its members meet
    under that name. Ranks that are members of different groups would count differently and wait
    for each other forever, even with `use_local_synchronization`. So the count is set for a moment
    to a number that all members know: it follows from who they are and how many groups they have.

    Args:
        timeout: of each group.
    """

    def __init__(self, timeout: timedelta) -> None:
        self._timeout = timeout
        self._n_made: Counter[tuple[int, ...]] = Counter()

    def make(self, members: Sequence[int], backend: str | None = None) -> dist.ProcessGroup:
        """Make a group of this rank and others; arguments as for `Ranks.new_group`."""
        key = tuple(members)
        name = f"{key} {self._n_made[key]}"
        self._n_made[key] += 1
        world = dist.distributed_c10d._world
        # No count of groups will reach such a number, and no other name has it.
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16])
        count, world.group_count = world.group_count, number
        try:
            group = dist.new_group(list(members), timeout=self._timeout, backend=backend)
        finally:
            world.group_count = count
        assert isinstance(group, dist.ProcessGroup)
        return group
