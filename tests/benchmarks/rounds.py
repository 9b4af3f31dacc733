"""Made-up rounds, so that every number of a summary can be worked out by hand."""

from benchmarks.samples import PipelineStep, Round, Step, Turn
from benchmarks.shapes import Shape
from benchmarks.variant import Variant
from benchmarks.variants import Pipeline, WholeGRU
from gru_parallel.schedule import Action

SHAPE = Shape(hidden_size=128, batch_size=32, n_steps=96, num_layers=4)
ONE, TWO = WholeGRU(1), WholeGRU(2)
PIPELINE = Pipeline(n_micro_batches=1, n_chunks=2)
VARIANTS: tuple[Variant, ...] = (ONE, TWO, PIPELINE)


def whole_step(wall_ms: float) -> Step:
    return Step(wall_ms, cpu_ms=wall_ms)


def pipeline_step(wall_ms: float, *, cpu_ms: float = 110.0, f_ms: float = 10.0) -> Step:
    """A step of bare cells of 100 ms CPU, in which its F and B took 104 ms CPU."""
    cells = {
        Action.parse(text): f_ms if "F" in text else 2 * f_ms
        for text in ["0F0.0", "0F0.1", "1F0.0", "1F0.1", "1B0.1", "1B0.0", "0B0.1", "0B0.0"]
    }
    return Step(wall_ms, cpu_ms, PipelineStep(104.0, 100.0, bubble=0.4, cells_ms=cells))


def a_round(
    one_ms: float = 200.0,
    two_ms: float = 150.0,
    pipeline_ms: float = 100.0,
    stolen: float | None = 0.0,
    others: float = 0.01,
) -> Round:
    turns: dict[Variant, Turn] = {
        ONE: Turn((whole_step(one_ms),), one_ms),
        TWO: Turn((whole_step(two_ms),), two_ms),
        PIPELINE: Turn((pipeline_step(pipeline_ms),), 110.0),
    }
    return Round(turns, stolen, None if stolen is None else others)
