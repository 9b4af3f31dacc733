"""What the pipeline is meant to reach, and whether a measurement shows it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.shapes import Shape
from benchmarks.summary import PipelineNumbers, ShapeSummary

MAX_ADDED_CPU = 0.05
MAX_OVER_IDEAL = 1.15
MAX_BUBBLE_ABOVE = 0.03
"""Of the stages' time, above what the schedule gives with the measured cells."""
MIN_SPEEDUP = {128: 1.2, 256: 1.1}
"""By hidden size, for 4 layers, 96 steps and 32 to 64 windows."""


@dataclass(frozen=True)
class Verdict:
    """One target of one shape.

    Attributes:
        shape: the size of the step.
        target: what is asked, in words.
        measured: the number that decides, in words, with the variant that it comes from.
        met: whether it is enough; None where it was not measured.
    """

    shape: Shape
    target: str
    measured: str
    met: bool | None


def min_speedup(shape: Shape) -> float | None:
    """How many times the better nn.GRU's speed the best pipeline should have; None if not asked."""
    if (shape.num_layers, shape.n_steps) != (4, 96) or not 32 <= shape.batch_size <= 64:
        return None
    return MIN_SPEEDUP.get(shape.hidden_size)


def judge(summary: ShapeSummary) -> tuple[Verdict, ...]:
    """Hold a shape's numbers against the targets.

    CPU time and step time are judged by the pipeline that does worst, speed by the best one.

    Args:
        summary: of one shape, with a pipeline at least.

    Returns:
        A verdict a target that applies to the shape.
    """
    verdicts = [
        _judge_worst(
            summary,
            f"a step takes at most {MAX_ADDED_CPU:.0%} more CPU time than its bare cells",
            lambda numbers: numbers.added_cpu,
            "{:+.1%}",
            MAX_ADDED_CPU,
        ),
        _judge_worst(
            summary,
            f"of that, the engine itself adds at most {MAX_ADDED_CPU:.0%}",
            lambda numbers: numbers.engine_cpu,
            "{:+.1%}",
            MAX_ADDED_CPU,
        ),
        _judge_worst(
            summary,
            f"a step takes at most {MAX_OVER_IDEAL} x its ideal",
            lambda numbers: numbers.over_ideal,
            "{:.2f} x",
            MAX_OVER_IDEAL,
        ),
    ]
    if all(row.pipeline.simulated_bubble is not None for row in summary.rows if row.pipeline):
        verdicts.append(
            _judge_worst(
                summary,
                f"a bubble is at most {MAX_BUBBLE_ABOVE:.0%} of the step above the simulated one",
                lambda numbers: numbers.bubble - (numbers.simulated_bubble or 0.0),
                "{:+.1%}",
                MAX_BUBBLE_ABOVE,
            )
        )
    wanted = min_speedup(summary.shape)
    if wanted is not None:
        best = max((row for row in summary.rows if row.pipeline), key=lambda row: row.speedup)
        verdicts.append(
            Verdict(
                summary.shape,
                f"at least {wanted} x as fast as the better nn.GRU",
                f"{best.speedup:.2f} x ({best.name})",
                best.speedup >= wanted,
            )
        )
    return tuple(verdicts)


def judge_all(summaries: Sequence[ShapeSummary]) -> tuple[Verdict, ...]:
    """Hold all shapes against the targets."""
    return tuple(verdict for summary in summaries for verdict in judge(summary))


def _judge_worst(
    summary: ShapeSummary,
    target: str,
    number: Callable[[PipelineNumbers], float],
    form: str,
    largest: float,
) -> Verdict:
    worst, name = max(
        (number(row.pipeline), row.name) for row in summary.rows if row.pipeline is not None
    )
    return Verdict(summary.shape, target, f"{form.format(worst)} ({name})", worst <= largest)
