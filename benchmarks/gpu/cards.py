"""Cards: the GPUs of this machine, and what torch drives them with."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context

from gru_parallel.errors import UsageError

N_STAND_INS = 2
"""Logical CPU devices that stand in for GPUs in a smoke run."""


@dataclass(frozen=True)
class Cards:
    """What the stages of a pipeline can be on.

    Attributes:
        devices: names, as in a device map.
        models: of the GPUs, as in "NVIDIA H200"; none where CPUs stand in.
        versions: of what torch was built with.
    """

    devices: tuple[str, ...]
    models: tuple[str, ...]
    versions: dict[str, str]


@cache
def cards_of(kind: str) -> Cards:
    """Look at the devices of a kind, "cuda" or "cpu", in a process of its own.

    Raises:
        UsageError: there is no GPU.
    """
    if kind == "cpu":
        return Cards(tuple(f"cpu:{index}" for index in range(N_STAND_INS)), (), {})
    # So that this process needs no torch, and takes no memory of a GPU.
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        cards = pool.submit(_look).result()
    if not cards.devices:
        raise UsageError(
            "there is no CUDA GPU here, or torch cannot use it; python -m benchmarks gpu --quick"
            " --device cpu is a smoke run without one."
        )
    return cards


def _look() -> Cards:
    import torch

    n_cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Cards(
        tuple(f"cuda:{index}" for index in range(n_cards)),
        tuple(torch.cuda.get_device_name(index) for index in range(n_cards)),
        {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())},
    )
