"""What a run prints about its pace, at an interval: one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gru_parallel.report.units import format_bytes, format_percent

if TYPE_CHECKING:
    # To import it takes torch, which nothing here needs.
    from gru_parallel.training.pace import Pace


def pace_line(pace: Pace, devices: Iterable[str]) -> str:
    """Describe the pace of a run in one line.

    Args:
        pace: that was measured.
        devices: of all stages.

    Returns:
        Like "Step 240: 16.9 steps/s, 1,085 samples/s; stages busy 87.0 %, 91.2 %; peak memory of
        the process 512 MiB".
    """
    rates = f"{_rate(pace.steps_per_s)} steps/s, {_rate(pace.samples_per_s)} samples/s"
    busy = ", ".join(map(format_percent, pace.busy))
    stages = "stage" if len(pace.busy) == 1 else "stages"
    return f"Step {pace.step}: {rates}; {stages} busy {busy}; {_memory(pace, devices)}"


def _memory(pace: Pace, devices: Iterable[str]) -> str:
    amounts = ", ".join(map(format_bytes, pace.peak_bytes))
    if not all(device.startswith("cpu") for device in devices):
        return f"peak memory of their devices {amounts}"
    if pace.n_processes == 1:
        return f"peak memory of the process {format_bytes(max(pace.peak_bytes))}"
    return f"peak memory of their processes {amounts}"


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 99.95 else f"{per_s:.3g}"
