"""What several GPUs would give, from the cells of one stage that was measured alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.gpu.cases import SCHEDULE, Case, Way
from benchmarks.gpu.numbers import GPUNumbers, Reading
from gru_parallel.schedule import Action, Op, build_schedule, simulate

HAND_OVER_MS = 0.01
"""Assumed of each copy from GPU to GPU, besides its bytes."""

HAND_OVER_BYTES_PER_MS = 25e6
"""Assumed: 25 GB/s, what PCI Express 4 gives; NVLink is more than ten times as fast."""


@dataclass(frozen=True)
class Prediction:
    """A step that was not measured.

    Attributes:
        case: of the stage alone, with stages and chunks of the whole pipeline.
        step_ms: how long it would take on a GPU for each stage.
    """

    case: Case
    step_ms: float


def predictions(numbers: Sequence[GPUNumbers]) -> Iterator[Prediction]:
    """Predict a step for each stage that was measured alone."""
    for own in numbers:
        if own.case.way is Way.STAGE and own.reading is not None:
            yield predict(own.case, own.reading)


def predict(case: Case, reading: Reading) -> Prediction:
    """Simulate a pipeline whose stages all take what one took alone.

    The stage's whole step, with nothing to wait for, says how long all its F and B take together;
    the shares of each are those that were timed with a wait after each, which itself takes time.
    Copies keep no stage busy, but the first cell waits for one at each stage, forward and back. One
    process queues the work of all stages, so a step is never shorter than that takes.

    Args:
        case: of the stage; its stages and chunks are those of the pipeline.
        reading: of the stage.

    Returns:
        The prediction; copies between GPUs are assumed, see `hand_over_ms`.
    """
    copies_ms = 2 * (case.n_stages - 1) * hand_over_ms(case)
    waited_ms = sum(f_ms + b_ms for f_ms, b_ms in reading.cells_ms)
    without_waits = reading.step_ms / waited_ms

    def cost_ms(action: Action) -> float:
        f_ms, b_ms = reading.cells_ms[action.chunk]
        return (f_ms if action.op is Op.F else b_ms) * without_waits

    schedule = build_schedule(SCHEDULE, case.n_stages, 1, case.n_chunks)
    step_ms = simulate(schedule, cost_ms).step_ms + copies_ms
    return Prediction(case, max(step_ms, case.n_stages * reading.host_ms))


def hand_over_ms(case: Case) -> float:
    """Return what the copy of a chunk's activations from GPU to GPU is assumed to take."""
    shape = case.shape
    n_steps = -(-shape.n_steps // case.n_chunks)
    n_bytes = n_steps * shape.batch_size * shape.hidden_size * case.precision.n_bytes
    return HAND_OVER_MS + n_bytes / HAND_OVER_BYTES_PER_MS
