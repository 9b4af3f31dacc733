"""How far predictions are from what was measured, and what the chosen plan lost. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import mean, median
from typing import Any

from benchmarks.planner.cases import TriedPlan
from benchmarks.shapes import Shape

MAX_MEDIAN_ERROR = 0.05
MAX_WORST_ERROR = 0.15
MAX_LOSS = 0.05
MAX_PROFILE_S = 10.0


@dataclass(frozen=True)
class PlanNumbers:
    """One plan: what was promised, and what came of it.

    Attributes:
        tried: the plan.
        predicted_ms: of a step.
        analytic_ms: of a step, as predicted without a profile.
        steps_ms: what the steps took, in their order.
    """

    tried: TriedPlan
    predicted_ms: float
    analytic_ms: float
    steps_ms: tuple[float, ...]

    @property
    def measured_ms(self) -> float:
        """What a step took, the median of all rounds."""
        return median(self.steps_ms)

    @property
    def repeat_error(self) -> float:
        """How far the medians of the first and the second half of the rounds are apart."""
        n_half = max(1, len(self.steps_ms) // 2)
        return abs(median(self.steps_ms[:n_half]) / median(self.steps_ms[-n_half:]) - 1)

    @property
    def error(self) -> float:
        """How far the prediction is off, as a share of what was measured; above 0: too long."""
        return self.predicted_ms / self.measured_ms - 1

    @property
    def analytic_error(self) -> float:
        """The same without a profile."""
        return self.analytic_ms / self.measured_ms - 1


@dataclass(frozen=True)
class ShapeNumbers:
    """All plans of one model.

    Attributes:
        shape: of the model.
        profile_s: how long the profile took.
        plans: that were measured, the chosen one included.
        chosen: the planner's choice.
    """

    shape: Shape
    profile_s: float
    plans: tuple[PlanNumbers, ...]
    chosen: TriedPlan

    @property
    def of_chosen(self) -> PlanNumbers:
        """The numbers of the chosen plan."""
        return next(plan for plan in self.plans if plan.tried == self.chosen)

    @property
    def best(self) -> PlanNumbers:
        """The plan whose step took least."""
        return min(self.plans, key=lambda plan: plan.measured_ms)

    @property
    def loss(self) -> float:
        """By how much the chosen plan's step takes longer than the best one's, as a share."""
        return self.of_chosen.measured_ms / self.best.measured_ms - 1

    @property
    def errors(self) -> list[float]:
        """How far each prediction is off, without sign."""
        return [abs(plan.error) for plan in self.plans]

    @property
    def repeat_errors(self) -> list[float]:
        """How far two measurements of each plan are apart, by nothing but chance."""
        return [plan.repeat_error for plan in self.plans]

    @property
    def in_order(self) -> float:
        """Of all pairs of plans that differ by 5 % or more, the share predicted in their order."""
        pairs = [
            (one, other)
            for one, other in combinations(self.plans, 2)
            if abs(one.measured_ms / other.measured_ms - 1) >= 0.05
        ]
        right = sum(
            (one.predicted_ms < other.predicted_ms) == (one.measured_ms < other.measured_ms)
            for one, other in pairs
        )
        return right / len(pairs) if pairs else 1.0


@dataclass(frozen=True)
class Errors:
    """Errors of many predictions, without sign."""

    median: float
    mean: float
    worst: float
    n_plans: int

    @classmethod
    def of(cls, errors: Sequence[float]) -> Errors:
        """Sum them up."""
        return cls(median(errors), mean(errors), max(errors), len(errors))


def read_numbers(entries: Mapping[str, Any]) -> ShapeNumbers:
    """Read numbers from what `dataclasses.asdict` made of them."""
    plans = tuple(
        PlanNumbers(
            **{
                **plan,
                "tried": TriedPlan(**plan["tried"]),
                "steps_ms": tuple(plan["steps_ms"]),
            }
        )
        for plan in entries["plans"]
    )
    return ShapeNumbers(
        **{
            **entries,
            "shape": Shape(**entries["shape"]),
            "plans": plans,
            "chosen": TriedPlan(**entries["chosen"]),
        }
    )
