"""What all ranks must agree on before the first step."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch

from gru_parallel.errors import UsageError
from gru_parallel.ranks.ranks import Ranks

LONGEST_VALUE = 80

Value = TypeVar("Value")


def check_alike(ranks: Ranks, facts: Mapping[str, str]) -> None:
    """Check that all ranks, each of which calls this, have the same facts: values by name.

    Raises:
        UsageError: on every rank, if they differ; it names the first fact that differs.
    """
    everyone: list[dict[str, str]] = ranks.gather(dict(facts), "the facts of all ranks")
    names = dict.fromkeys(name for one in everyone for name in one)
    for name in names:
        values = [one.get(name) for one in everyone]
        if len(set(values)) > 1:
            raise UsageError(_difference(name, values))


def check_one_gpu_per_rank(ranks: Ranks, gpu: str | None) -> None:
    """Check that no two ranks, each of which calls this with its `gpu_identity`, share a GPU.

    Raises:
        UsageError: on every rank, if two share one.
    """
    for name, those in _holders(ranks.gather(gpu, "the GPUs of all ranks")).items():
        if name is not None and len(those) > 1:
            raise UsageError(
                f"NCCL needs a GPU for each rank, and {_ranks(those)} share {name}; start with "
                "--nproc-per-node of at most the number of GPUs of the machine, and let one rank "
                "run several stages."
            )


def gpu_identity(device: torch.device) -> str | None:
    """Return a name of a rank's GPU that is unique over all machines; None on the CPU."""
    if device.type != "cuda":
        return None
    return f"the GPU {torch.cuda.get_device_properties(device).uuid} of {socket.gethostname()}"


def _difference(name: str, values: Sequence[str | None]) -> str:
    holders = _holders(values)
    texts = [value for value in holders if value is not None]
    letters = enumerate(zip(*texts, strict=False))
    start = next((at for at, those in letters if len(set(those)) > 1), min(map(len, texts)))
    have = "; ".join(
        f"{_ranks(those)}: {_around(value, start)}" for value, those in holders.items()
    )
    return (
        f"All ranks must have the same {name}; {have}. Start every rank with the same command, "
        "installation, data and checkpoints."
    )


def _holders(values: Sequence[Value]) -> dict[Value, list[int]]:
    """Return the ranks that have each value."""
    holders = defaultdict(list)
    for rank, value in enumerate(values):
        holders[value].append(rank)
    return holders


def _around(value: str | None, index: int) -> str:
    """Return the part of a long value that differs from the others."""
    if value is None:
        return "none"
    if len(value) <= LONGEST_VALUE:
        return value
    start = max(0, index - LONGEST_VALUE // 2)
    end = start + LONGEST_VALUE
    return "..." * (start > 0) + value[start:end] + "..." * (end < len(value))


def _ranks(those: Sequence[int]) -> str:
    if len(those) == 1:
        return f"rank {those[0]}"
    return f"ranks {', '.join(map(str, those[:-1]))} and {those[-1]}"
