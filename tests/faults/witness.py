"""Witness: a callback that writes down, outside of the run's folder, what a run does and when."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

BEGINS, STEP, CHECKPOINT = "begins", "step", "checkpoint"


class Witness(pl.Callback):
    """Writes a line at the start of the training, after each step, and before each checkpoint.

    Args:
        folder: with a file of each rank, which all attempts of a run add to.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(BEGINS, trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        self._write(STEP, trainer)

    def on_save_checkpoint(self, trainer: pl.Trainer, *rest: Any) -> None:
        self._write(CHECKPOINT, trainer)

    def _write(self, event: str, trainer: pl.Trainer) -> None:
        # The monotonic clock is the same in all processes.
        line = f"{event} {trainer.global_step} {time.monotonic()}\n"
        with (self.folder / str(trainer.global_rank)).open("a") as file:
            file.write(line)


@dataclass(frozen=True)
class Event:
    """What a rank did.

    Attributes:
        name: BEGINS, STEP or CHECKPOINT.
        step: of the optimiser, after it.
        at: seconds of the monotonic clock.
    """

    name: str
    step: int
    at: float


class Account:
    """What the first rank of a run has done so far, in all attempts.

    Args:
        folder: that the witness writes into.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "0"

    def events(self) -> list[Event]:
        if not self._path.is_file():
            return []
        # A kill may leave half a line.
        lines = self._path.read_text().rpartition("\n")[0].splitlines()
        return [Event(name, int(step), float(at)) for name, step, at in map(str.split, lines)]

    def count(self, name: str) -> int:
        return sum(event.name == name for event in self.events())

    def steps_repeated(self) -> int:
        """How many steps resumed attempts took that had been taken before."""
        repeated, reached = 0, 0
        for event in self.events():
            if event.name == BEGINS:
                repeated += max(0, reached - event.step)
            elif event.name == STEP:
                reached = event.step
        return repeated

    def trains_again_at(self, harmed_at: float) -> float | None:
        """When the first step after a fault was complete, of an attempt that began after it."""
        events = self.events()
        begins = [n for n, each in enumerate(events) if each.name == BEGINS and each.at > harmed_at]
        steps = (each.at for each in events[begins[0] :] if each.name == STEP) if begins else ()
        return next(iter(steps), None)

    def next_step_at(self, at: float) -> float | None:
        """When the first step after a moment was complete."""
        return next((e.at for e in self.events() if e.name == STEP and e.at > at), None)
