"""What all ranks must agree on before the first step."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch

from gru_parallel.errors import UsageError
from gru_parallel.ranks.ranks import Ranks

LONGEST_VALUE = 80


def check_alike(ranks: Ranks, facts: Mapping[str, str]) -> None:
    """Check that all ranks have the same of everything that has to be the same.

    Args:
        ranks: all of them call this.
        facts: by name, what this rank has.

    Raises:
        UsageError: on every rank, if they differ; about the first fact in which they do.
    """
    everyone: list[dict[str, str]] = ranks.gather(dict(facts), "the facts of all ranks")
    names = dict.fromkeys(name for one in everyone for name in one)
    for name in names:
        values = [one.get(name) for one in everyone]
        if len(set(values)) > 1:
            raise UsageError(_difference(name, values))


def check_one_gpu_a_rank(ranks: Ranks, gpu: str | None) -> None:
    """Check that no two ranks share a GPU.

    Args:
        ranks: all of them call this.
        gpu: a name of this rank's GPU that is unique over all machines; None on a CPU.

    Raises:
        UsageError: on every rank, if two share one.
    """
    sharing = defaultdict(list)
    for rank, name in enumerate(ranks.gather(gpu, "the GPUs of all ranks")):
        if name is not None:
            sharing[name].append(rank)
    for name, those in sharing.items():
        if len(those) > 1:
            raise UsageError(
                f"NCCL needs a GPU for each rank, and {_ranks(those)} share {name}; start with "
                "--nproc-per-node of at most the number of GPUs of the machine, and let a rank run "
                "several stages instead."
            )


def gpu_identity(device: torch.device) -> str | None:
    """Return a name of a GPU that is unique over all machines; None for a CPU.

    Args:
        device: of a rank.
    """
    if device.type != "cuda":
        return None
    return f"the GPU {torch.cuda.get_device_properties(device).uuid} of {socket.gethostname()}"


def _difference(name: str, values: Sequence[str | None]) -> str:
    holders = defaultdict(list)
    for rank, value in enumerate(values):
        holders[value].append(rank)
    start = _first_difference([value for value in holders if value is not None])
    have = "; ".join(
        f"{_ranks(those)}: {_around(value, start)}" for value, those in holders.items()
    )
    return (
        f"All ranks must have the same {name}; {have}. Start every rank with the same command, and "
        "the same installation."
    )


def _first_difference(values: Sequence[str]) -> int:
    for place, letters in enumerate(zip(*values, strict=False)):
        if len(set(letters)) > 1:
            return place
    return min(map(len, values))


def _around(value: str | None, place: int) -> str:
    """Return what a long value has where it differs from the others."""
    if value is None:
        return "none"
    if len(value) <= LONGEST_VALUE:
        return value
    start = max(0, place - LONGEST_VALUE // 2)
    end = start + LONGEST_VALUE
    return "..." * (start > 0) + value[start:end] + "..." * (end < len(value))


def _ranks(those: Sequence[int]) -> str:
    if len(those) == 1:
        return f"rank {those[0]}"
    return f"ranks {', '.join(map(str, those[:-1]))} and {those[-1]}"
