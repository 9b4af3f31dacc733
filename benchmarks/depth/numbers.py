"""What stacks of several depths came to, and which are chosen by validation. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any


@dataclass(frozen=True)
class Run:
    """What one run came to, in standardised units.

    Attributes:
        seed: of the run.
        validation_loss: the lowest mean squared error in the validation part.
        mse: mean squared error of these weights in the test part.
        mae: mean absolute error there.
        epoch_s: seconds of an epoch, validation aside.
        date: on which it finished.
    """

    seed: int
    validation_loss: float
    mse: float
    mae: float
    epoch_s: float
    date: str


@dataclass(frozen=True)
class StackNumbers:
    """What a stack came to.

    Attributes:
        task: what it forecasts.
        depth: its layers.
        layers: how they are joined.
        hidden_size: features of each.
        n_parameters: of the whole model.
        runs: one for each seed.
    """

    task: str
    depth: int
    layers: str
    hidden_size: int
    n_parameters: int
    runs: tuple[Run, ...]

    def of(self, error: str) -> list[float]:
        """Return an error of each run."""
        return [getattr(run, error) for run in self.runs]


def read_numbers(entries: Mapping[str, Any]) -> StackNumbers:
    """Read numbers from what `dataclasses.asdict` made of them."""
    runs = tuple(Run(**run) for run in entries["runs"])
    return StackNumbers(**{**entries, "runs": runs})


def best(stacks: Sequence[StackNumbers]) -> StackNumbers:
    """Return the stack with the lowest validation loss of the first seed."""
    return min(stacks, key=lambda stack: stack.runs[0].validation_loss)


def shown(values: Sequence[float], digits: int = 3) -> str:
    """Write the mean, and the standard deviation where there are several."""
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"
