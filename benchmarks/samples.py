"""What a measurement leaves: steps, turns and rounds. Pure; passed between processes as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.machine_time import Share
from benchmarks.shapes import Shape
from benchmarks.variant import Variant
from gru_parallel.schedule import Action


@dataclass(frozen=True)
class PipelineStep:
    """What only a pipeline's step has.

    Attributes:
        cells_cpu_ms: CPU time of its F and B.
        bare_cpu_ms: CPU time of the same cells called directly, right after the step.
        bubble: idle share of the stages.
        cells_ms: how long each F and B took, by action; wall time.
    """

    cells_cpu_ms: float
    bare_cpu_ms: float
    bubble: float
    cells_ms: Mapping[Action, float]


@dataclass(frozen=True)
class Step:
    """One training step: forward and backward.

    Attributes:
        wall_ms: from the call to the gradients in place.
        cpu_ms: CPU time of the whole process meanwhile, all its threads.
        pipeline: None where the step is timed and nothing else.
        began_s: when it was called, on the clock that the processes of a machine share; 0 where one
            process runs it.
    """

    wall_ms: float
    cpu_ms: float
    pipeline: PipelineStep | None = None
    began_s: float = 0.0


@dataclass(frozen=True)
class Turn:
    """What one variant did in one round.

    Attributes:
        steps: the measured ones.
        cpu_ms: CPU time of the whole turn, what was not measured included.
        peak_bytes: of each process, what a step added to its memory at most; () if not measured.
    """

    steps: tuple[Step, ...]
    cpu_ms: float
    peak_bytes: tuple[int, ...] = ()


def join_turns(turns: Sequence[Turn]) -> Turn:
    """Return the turn that several processes took together, from what each of them saw of it.

    A step lasts from the first call in any of them to the last return.
    """
    return (
        turns[0]
        if len(turns) == 1
        else Turn(
            tuple(
                _join_steps(steps) for steps in zip(*(turn.steps for turn in turns), strict=True)
            ),
            sum(turn.cpu_ms for turn in turns),
            tuple(peak for turn in turns for peak in turn.peak_bytes),
        )
    )


def _join_steps(steps: Sequence[Step]) -> Step:
    began_s = min(step.began_s for step in steps)
    ended_s = max(step.began_s + step.wall_ms / 1e3 for step in steps)
    return Step((ended_s - began_s) * 1e3, sum(step.cpu_ms for step in steps), began_s=began_s)


@dataclass(frozen=True)
class Round:
    """A turn of every variant, one after the other.

    Attributes:
        turns: by variant.
        stolen: share of the machine's time that went to other guests; None where that is unknown.
        others: share that other processes of this machine took; None where that is unknown.
    """

    turns: Mapping[Variant, Turn]
    stolen: Share | None
    others: Share | None


@dataclass(frozen=True)
class ShapeRun:
    """All rounds of one shape.

    Attributes:
        shape: the size of the step.
        variants: what was measured.
        rounds: in order, disturbed ones included.
        wanted: undisturbed rounds asked for.
        tried: the round in which every plan ran once, before those that were measured were chosen;
            None where nothing was chosen.
    """

    shape: Shape
    variants: tuple[Variant, ...]
    rounds: tuple[Round, ...]
    wanted: int
    tried: Round | None = None
