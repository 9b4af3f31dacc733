"""What ranks on one machine need to meet: a port, and what a launcher would tell them."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"

TIMEOUT_S = 60.0
"""A rank that another waits for longer has ended, or both wait for each other."""


def reserve_port() -> tuple[socket.socket, int]:
    """Find a free port and keep it from being given to others.

    Returns:
        What holds the port until it is closed, and the port. As it does not listen, a store that
        shares addresses (SO_REUSEADDR), as torch's does, can have the port meanwhile.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((HOST, 0))
    return holder, int(holder.getsockname()[1])


def rank_environment(rank: int, n_ranks: int, port: int) -> dict[str, str]:
    """Return what torchrun would set for a rank."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(n_ranks),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(n_ranks),
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
