"""What a plan promised of a training step, and what came of it, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gru_parallel.placement import Plan
from gru_parallel.planning import Planned
from gru_parallel.planning.analytic import ANALYTIC
from gru_parallel.report.stage_names import layer_span
from gru_parallel.report.units import format_ms
from gru_parallel.schedule import Timeline

_SLOW = 1.2
"""So many times its planned time is too slow for a stage."""


@dataclass(frozen=True)
class Promise:
    """What a plan promises of a training step.

    Attributes:
        plan: which block runs where, and how a batch is cut.
        timeline: when each stage does what.
        step_ms: time of the whole step.
        memory_bytes: that each stage needs.
        activation_bytes: the part of it that comes and goes with the cells that are kept.
        costs_source: where its times are from, as in "measured on 2026-11-27".
    """

    plan: Plan
    timeline: Timeline
    step_ms: float
    memory_bytes: Sequence[int]
    activation_bytes: Sequence[int]
    costs_source: str

    @classmethod
    def of(cls, planned: Planned) -> Promise:
        """Take out of a plan what can be compared with a run."""
        return cls(
            planned.plan,
            planned.timeline,
            planned.step_ms,
            planned.stage_memory_bytes,
            planned.stage_activation_bytes,
            planned.costs.source,
        )


@dataclass(frozen=True)
class StageOutcome:
    """What was promised of a stage, and what came of it.

    Attributes:
        device: of the stage, as in the plan.
        layers: its first and last layer, as in "0-3".
        predicted_ms: how long it should compute (F, B and W) in a training step.
        measured_ms: how long it did in a typical one; None if no step was timed.
        predicted_memory_bytes: the memory that it should need.
        predicted_activation_bytes: the part of it that comes and goes with the cells that it keeps.
        measured_memory_bytes: the most that torch's allocator held for it on CUDA; None on CPUs,
            whose memory does not tell stages apart, and where several stages share a device.
    """

    device: str
    layers: str
    predicted_ms: float
    measured_ms: float | None
    predicted_memory_bytes: int
    predicted_activation_bytes: int
    measured_memory_bytes: int | None

    @property
    def is_slow(self) -> bool:
        """Whether it took 20 % or more longer than planned."""
        return self.measured_ms is not None and self.measured_ms >= _SLOW * self.predicted_ms


def stage_outcomes(
    promise: Promise, measured: Timeline | None, peak_bytes: dict[int, int]
) -> list[StageOutcome]:
    """Put what was measured of each stage beside what was promised.

    Args:
        promise: of the plan.
        measured: a typical training step, or None.
        peak_bytes: by stage, the most memory that it had allocated, where that is known.
    """
    plan = promise.plan
    return [
        StageOutcome(
            device=plan.stages[stage].device_text,
            layers=layer_span(plan.stage_layers(stage)),
            predicted_ms=promise.timeline.busy_ms(stage),
            measured_ms=None if measured is None else measured.busy_ms(stage),
            predicted_memory_bytes=promise.memory_bytes[stage],
            predicted_activation_bytes=promise.activation_bytes[stage],
            measured_memory_bytes=peak_bytes.get(stage),
        )
        for stage in range(plan.n_stages)
    ]


def slow_stages(
    stages: Sequence[StageOutcome],
    costs_source: str,
    *,
    over_ranks: bool = False,
    is_described: bool = False,
) -> list[str]:
    """Warn if stages took 20 % or more longer than planned: which, what may be why, what to do.

    Args:
        stages: of a run.
        costs_source: where the planned times are from.
        over_ranks: whether each was a process, beside which nothing is measured.
        is_described: whether their devices are described, which are not measured either.

    Returns:
        One warning, or none.
    """
    slow = [(stage, outcome) for stage, outcome in enumerate(stages) if outcome.is_slow]
    if not slow:
        return []
    stage, worst = max(slow, key=lambda pair: _factor(pair[1]))
    others = ", ".join(str(other) for other, _ in slow if other != stage)
    also = f" (slow, too: {others})" if others else ""
    assert worst.measured_ms is not None
    if costs_source.startswith(ANALYTIC):
        cause = "The plan's times are worked out, not measured here"
    else:
        cause = (
            f"The machine may have had other work, or may have changed since its profile was"
            f" {costs_source}"
        )
    settings = "cluster=local plan=measure" if is_described else "plan=measure"
    if over_ranks:
        remedy = f"gru-parallel plan {settings} engine=threads measures for the next run"
    else:
        remedy = f"{settings} measures before it plans"
    return [
        f"Stage {stage} on {worst.device} took {format_ms(worst.measured_ms)} per step,"
        f" {_factor(worst):.2g} times the {format_ms(worst.predicted_ms)} planned{also}. {cause};"
        f" {remedy}."
    ]


def _factor(outcome: StageOutcome) -> float:
    """How many times as long as planned a stage took."""
    if outcome.measured_ms is None:
        return 0.0
    return outcome.measured_ms / max(outcome.predicted_ms, 1e-9)
