"""What ran when, on which stage: simulated and measured runs are the same type."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import NamedTuple

from gru_parallel.schedule.action import COMPUTE, Action, Op
from gru_parallel.schedule.alive import cells_alive, most_alive

_start_ms: Callable[["Event"], float] = attrgetter("start_ms")
_end_ms: Callable[["Event"], float] = attrgetter("end_ms")


class Event(NamedTuple):
    """One action with its start and end, in ms from a moment common to all stages."""

    action: Action
    start_ms: float
    end_ms: float

    @property
    def duration_ms(self) -> float:
        """How long the action took, in ms."""
        return self.end_ms - self.start_ms


@dataclass(frozen=True)
class Timeline:
    """All events of one step, in any order.

    Attributes:
        n_stages: number of stages, idle ones included.
        events: what ran, transfers included if they were timed.
    """

    n_stages: int
    events: tuple[Event, ...]

    @cached_property
    def step_ms(self) -> float:
        """From the first start to the last end on any stage, in ms; 0 without events."""
        if not self.events:
            return 0.0
        return max(map(_end_ms, self.events)) - min(map(_start_ms, self.events))

    def busy_ms(self, stage: int) -> float:
        """How long a stage computed F, B and W, in ms; transfers and waits count as idle."""
        return sum(event.end_ms - event.start_ms for event in self._computed(stage))

    @property
    def bubble(self) -> float:
        """The idle share of all stages' time, from 0 (none) to 1."""
        if self.step_ms == 0:
            return 0.0
        busy_ms = sum(self.busy_ms(stage) for stage in range(self.n_stages))
        return 1 - busy_ms / (self.n_stages * self.step_ms)

    def stage_events(self, stage: int) -> tuple[Event, ...]:
        """List the events of one stage by their start."""
        return self._by_stage.get(stage, ())

    def cells_alive(self, stage: int, since: Op = Op.F) -> list[tuple[float, int]]:
        """How many cells a stage keeps the activations of, over time.

        Args:
            stage: index of the stage.
            since: when a cell begins to be kept; see `alive.cells_alive`.

        Returns:
            (time in ms, number of cells from then on) for each change, by time; none before the
            first.
        """
        computed = self._computed(stage)
        return [
            (computed[index].end_ms if at_end else computed[index].start_ms, n_alive)
            for index, at_end, n_alive in cells_alive([event.action for event in computed], since)
        ]

    def peak_activations(self, stage: int, since: Op = Op.F) -> int:
        """The largest number of cells whose activations a stage keeps at once.

        Args:
            stage: index of the stage.
            since: see `cells_alive`.
        """
        return most_alive([event.action for event in self._computed(stage)], since)

    @cached_property
    def _by_stage(self) -> dict[int, tuple[Event, ...]]:
        by_stage: dict[int, list[Event]] = {}
        for event in self.events:
            by_stage.setdefault(event.action.stage, []).append(event)
        return {stage: tuple(sorted(events, key=_start_ms)) for stage, events in by_stage.items()}

    def _computed(self, stage: int) -> list[Event]:
        return [event for event in self.stage_events(stage) if event.action.op in COMPUTE]
