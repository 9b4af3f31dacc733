"""The memory of a stage over a step: what is always there, and the activations of its cells."""

from collections.abc import Sequence
from dataclasses import dataclass

from gru_parallel.report.outcome import StageOutcome
from gru_parallel.schedule import Timeline


@dataclass(frozen=True)
class MemoryCurve:
    """A step function: each value holds from its time to the next; the last time ends the step.

    Attributes:
        times_ms: ascending, from the first start on any stage.
        n_bytes: that the stage needs.
        n_cells: whose activations the stage keeps.
    """

    times_ms: list[float]
    n_bytes: list[float]
    n_cells: list[int]


def memory_curves(
    timeline: Timeline, predicted: Timeline, stages: Sequence[StageOutcome]
) -> list[MemoryCurve]:
    """Return the memory of each stage over a step.

    The bytes of a cell are the plan's, also for a measured timeline: what its allocator holds for
    a stage is not known while the step runs.

    Args:
        timeline: what ran when.
        predicted: what the plan promised.
        stages: what it promised of their memory.
    """
    return [_curve(timeline, predicted, stage, promised) for stage, promised in enumerate(stages)]


def _curve(
    timeline: Timeline, predicted: Timeline, stage: int, promised: StageOutcome
) -> MemoryCurve:
    start_ms = min((event.start_ms for event in timeline.events), default=0.0)
    # Of two changes at one time the later one holds.
    n_cells = {0.0: 0}
    n_cells |= {time_ms - start_ms: n for time_ms, n in timeline.cells_alive(stage)}
    n_cells.setdefault(timeline.step_ms, next(reversed(n_cells.values())))
    always_bytes = promised.predicted_memory_bytes - promised.predicted_activation_bytes
    most = predicted.peak_activations(stage)
    cell_bytes = promised.predicted_activation_bytes / most if most else 0.0
    return MemoryCurve(
        list(n_cells),
        [always_bytes + n * cell_bytes for n in n_cells.values()],
        list(n_cells.values()),
    )
