"""What ran when, on which stage: simulated and measured runs are the same type."""

from dataclasses import dataclass

from gru_parallel.schedule.action import Action, Cell, Op


@dataclass(frozen=True, slots=True)
class Event:
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

    @property
    def step_ms(self) -> float:
        """From the first start to the last end on any stage, in ms; 0 without events."""
        if not self.events:
            return 0.0
        first_ms = min(event.start_ms for event in self.events)
        return max(event.end_ms for event in self.events) - first_ms

    def busy_ms(self, stage: int) -> float:
        """How long a stage computed F, B and W, in ms; transfers and waits count as idle."""
        return sum(
            event.duration_ms for event in self.stage_events(stage) if event.action.op.is_compute
        )

    @property
    def bubble(self) -> float:
        """The idle share of all stages' time, from 0 (none) to 1."""
        if self.step_ms == 0:
            return 0.0
        busy_ms = sum(self.busy_ms(stage) for stage in range(self.n_stages))
        return 1 - busy_ms / (self.n_stages * self.step_ms)

    def stage_events(self, stage: int) -> tuple[Event, ...]:
        """List the events of one stage by their start."""
        events = (event for event in self.events if event.action.stage == stage)
        return tuple(sorted(events, key=lambda event: event.start_ms))

    def peak_activations(self, stage: int, since: Op = Op.F) -> int:
        """The largest number of cells whose activations a stage keeps at once.

        A cell is kept from the start of its F to the end of its B, or of its W where there is one:
        W needs inputs and outputs of the cell's layers, and the gates' gradients that B leaves in
        place of the gates. A cell without B, as in evaluation, is not kept at all.

        Args:
            stage: index of the stage.
            since: F, or B where this runs F again and so keeps nothing from before.
        """
        events = self.stage_events(stage)
        return _most_alive([event.action for event in events if event.action.op.is_compute], since)


def _most_alive(computed: list[Action], since: Op) -> int:
    """Walk the actions of one stage, which never overlap, and count the cells that are kept."""
    last: dict[Cell, Op] = {action.cell: action.op for action in computed}
    alive = most = 0
    for action in computed:
        if last[action.cell] is Op.F:
            continue
        alive += action.op is since
        most = max(most, alive)
        alive -= action.op is last[action.cell]
    return most
