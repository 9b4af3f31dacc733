"""How to wake a thread that waits in a process group for a rank that will not answer."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import torch
import torch.distributed as dist

TAG = 0x6F6666
"""Of the message that nobody sends, so that no real one is taken for it."""


def break_off(group: dist.ProcessGroup) -> None:
    """End all that waits in a group, now and later, with an error.

    NCCL has a call for it. Gloo has none, and none of its waits can be ended from outside. But a
    wait that runs out of time closes the group's connections, and that wakes all others on them.

    Args:
        group: one that this rank is a member of.
    """
    peers = [rank for rank in dist.get_process_group_ranks(group) if rank != dist.get_rank()]
    if not peers:
        return
    backends = dist.get_backend_config(group)
    if "nccl" in backends:
        with contextlib.suppress(RuntimeError):
            group.abort()
    if "gloo" in backends:
        for peer in peers:
            with contextlib.suppress(RuntimeError):
                work = dist.irecv(torch.empty(1), peer, group=group, tag=TAG)
                if work is not None:
                    work.wait(timedelta(milliseconds=1))
