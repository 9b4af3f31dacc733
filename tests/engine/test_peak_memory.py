"""The peak of memory: which stages have one of their own, and that the process has one."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gru_parallel.engine import peak_memory
from gru_parallel.engine.peak_memory import forget_peaks, peak_bytes, peak_rss_bytes


def stages(*devices: str) -> list[Any]:
    """Stand in for stages on devices that need not be here."""
    return [
        SimpleNamespace(index=index, devices=[torch.device(name) for name in names.split("+")])
        for index, names in enumerate(devices)
    ]


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have each CUDA device hold a hundred bytes for its number and one."""
    found: list[str] = []
    monkeypatch.setattr(
        peak_memory.torch.cuda, "max_memory_allocated", lambda device: 100 * (device.index + 1)
    )
    monkeypatch.setattr(
        peak_memory.torch.cuda,
        "reset_peak_memory_stats",
        lambda device: found.append(str(device)),
    )
    return found


def test_a_stage_with_devices_of_its_own_has_their_peak(forgotten: list[str]) -> None:
    assert peak_bytes(stages("cuda:0", "cuda:1+cuda:2")) == {0: 100, 1: 500}


def test_stages_that_share_a_device_or_are_on_a_cpu_have_none(forgotten: list[str]) -> None:
    assert peak_bytes(stages("cuda:0", "cuda:1", "cuda:0", "cpu")) == {1: 200}


def test_each_cuda_device_is_asked_once_to_begin_anew(forgotten: list[str]) -> None:
    forget_peaks(stages("cuda:0", "cuda:1", "cuda:0", "cpu"))

    assert sorted(forgotten) == ["cuda:0", "cuda:1"]


def test_the_peak_of_the_process_is_at_least_what_it_has_now() -> None:
    before = peak_rss_bytes()
    there = bytearray(before // 2 + 2**26)
    there[::4096] = b"\x01" * len(there[::4096])

    assert peak_rss_bytes() - before >= 2**25
    assert before > 2**20
