"""What a system forecasts ETTh1 with at one horizon, seed by seed, and what it is to beat. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

HORIZONS = (96, 192, 336, 720)

OURS = "segments and decoder"
"""experiment=etth1_96 and its likes."""

TARGETS = {96: 0.368, 192: 0.408, 336: 0.444, 720: 0.446}
"""By horizon, the mean squared error to beat: that of SegRNN from a look-back of 96 rows."""

PUBLISHED: Mapping[str, tuple[tuple[float, float], ...]] = {
    "SegRNN, published": ((0.368, 0.395), (0.408, 0.419), (0.444, 0.440), (0.446, 0.457)),
    "DLinear, published": ((0.386, 0.400), (0.437, 0.432), (0.481, 0.459), (0.519, 0.516)),
}
"""Squared and absolute errors at each of `HORIZONS`, from the README of lss-1138/SegRNN."""


@dataclass(frozen=True)
class Errors:
    """What one run came to, in standardised units.

    Attributes:
        seed: of the run; None for a forecast that is not trained.
        mse: mean squared error over all windows of the test part.
        mae: mean absolute error over them.
        validation_loss: the lowest, which chose the weights; None without training.
        minutes: that the run took.
        date: on which it finished; None for a forecast that is not trained.
    """

    seed: int | None
    mse: float
    mae: float
    validation_loss: float | None
    minutes: float
    date: str | None = None


@dataclass(frozen=True)
class SystemNumbers:
    """What a system came to at one horizon.

    Attributes:
        system: its name.
        horizon: rows that are forecast.
        runs: one for each seed.
    """

    system: str
    horizon: int
    runs: tuple[Errors, ...]

    @property
    def mse(self) -> float:
        """The mean over the seeds."""
        return mean(run.mse for run in self.runs)

    @property
    def mse_spread(self) -> float | None:
        """The standard deviation over the seeds; None for one."""
        return stdev(run.mse for run in self.runs) if len(self.runs) > 1 else None

    @property
    def mae(self) -> float:
        """The mean over the seeds."""
        return mean(run.mae for run in self.runs)

    @property
    def mae_spread(self) -> float | None:
        """The standard deviation over the seeds; None for one."""
        return stdev(run.mae for run in self.runs) if len(self.runs) > 1 else None


def read_numbers(entries: Mapping[str, Any]) -> SystemNumbers:
    """Read numbers from what `dataclasses.asdict` made of them."""
    runs = tuple(Errors(**run) for run in entries["runs"])
    return SystemNumbers(**{**entries, "runs": runs})


def of_system(numbers: Sequence[SystemNumbers]) -> dict[str, dict[int, SystemNumbers]]:
    """Group numbers by system, and then by horizon."""
    found: dict[str, dict[int, SystemNumbers]] = {}
    for own in numbers:
        found.setdefault(own.system, {})[own.horizon] = own
    return found
