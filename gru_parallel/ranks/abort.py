"""How to wake a thread that waits in a process group for a rank that will never answer."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import torch
import torch.distributed as dist

TAG = 0x6F6666
"""Of a message that is never sent; no real message has it."""


def abort(group: dist.ProcessGroup) -> None:
    """End all operations that wait in a group of this rank, now and later, with an error.

    NCCL has a call for this. Gloo has none, and none of its waits can be ended from outside. But
    a wait that times out closes the group's connections, which wakes all others on them.
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
