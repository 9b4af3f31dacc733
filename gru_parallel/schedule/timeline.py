"""What ran when, on which stage: simulated and measured runs are the same type."""

from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import NamedTuple

from gru_parallel.schedule.action import COMPUTE, Action, Cell, Op


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
        first_ms = min(event.start_ms for event in self.events)
        return max(event.end_ms for event in self.events) - first_ms

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

        A cell is kept from the start of its F to the end of its B, or of its W where there is one:
        W needs inputs and outputs of the cell's layers, and the gates' gradients that B leaves in
        place of the gates. A cell without B, as in evaluation, is not kept at all.

        Args:
            stage: index of the stage.
            since: F; or B, for a stage that runs F again there and so keeps nothing from before,
                or to count the cells that are in B or wait for W.

        Returns:
            (time in ms, number of cells from then on) for each change, by time; none before the
            first.
        """
        computed = self._computed(stage)
        last: dict[Cell, Op] = {event.action.cell: event.action.op for event in computed}
        alive: set[Cell] = set()
        changes: list[tuple[float, int]] = []
        for (_, op, cell), start_ms, end_ms in computed:
            if last[cell] is Op.F:
                continue
            # The actions of a stage never overlap.
            if op is since:
                alive.add(cell)
                changes.append((start_ms, len(alive)))
            if op is last[cell] and cell in alive:
                alive.remove(cell)
                changes.append((end_ms, len(alive)))
        return changes

    def peak_activations(self, stage: int, since: Op = Op.F) -> int:
        """The largest number of cells whose activations a stage keeps at once.

        Args:
            stage: index of the stage.
            since: see `cells_alive`.
        """
        return max((n_alive for _, n_alive in self.cells_alive(stage, since)), default=0)

    @cached_property
    def _by_stage(self) -> dict[int, tuple[Event, ...]]:
        by_stage: dict[int, list[Event]] = {}
        for event in self.events:
            by_stage.setdefault(event.action.stage, []).append(event)
        by_start = attrgetter("start_ms")
        return {stage: tuple(sorted(events, key=by_start)) for stage, events in by_stage.items()}

    def _computed(self, stage: int) -> list[Event]:
        return [event for event in self.stage_events(stage) if event.action.op in COMPUTE]
