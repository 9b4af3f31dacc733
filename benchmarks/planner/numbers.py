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

N_ROUNDS_OF_PASS = 2
"""Steps of a plan one after the other; the next ones come after another profile."""


@dataclass(frozen=True)
class PlanNumbers:
    """One plan: what was promised, and what came of it.

    Attributes:
        tried: the plan.
        promised_ms: of a step, by the profile of each pass.
        analytic_ms: of a step, as predicted without a profile.
        steps_ms: what the steps took, pass by pass; the last may have fewer.
    """

    tried: TriedPlan
    promised_ms: tuple[float, ...]
    analytic_ms: float
    steps_ms: tuple[float, ...]

    @property
    def predicted_ms(self) -> float:
        """What was promised, the median of all passes."""
        return median(self.promised_ms)

    @property
    def measured_ms(self) -> float:
        """What a step took, the median of all rounds."""
        return median(self.steps_ms)

    @property
    def errors_of_passes(self) -> list[float]:
        """How far each pass's own profile is off from the median of its own steps, without sign."""
        starts = range(0, len(self.steps_ms), N_ROUNDS_OF_PASS)
        return [
            abs(promised_ms / median(self.steps_ms[start : start + N_ROUNDS_OF_PASS]) - 1)
            for promised_ms, start in zip(self.promised_ms, starts, strict=True)
        ]

    @property
    def repeat_error(self) -> float:
        """How far the medians of the first and the second half of the rounds are apart."""
        n_half = max(1, len(self.steps_ms) // 2)
        return abs(median(self.steps_ms[:n_half]) / median(self.steps_ms[-n_half:]) - 1)

    @property
    def error(self) -> float:
        """How far the prediction is off, as a share of what was measured; above 0: too long."""
        return self.predicted_ms / self.measured_ms - 1

    def error_in(self, profiles: Sequence[int], rounds: Sequence[int]) -> float:
        """The same by some of the profiles and rounds, without sign."""
        promised_ms = median(self.promised_ms[index] for index in profiles)
        return abs(promised_ms / median(self.steps_ms[index] for index in rounds) - 1)

    @property
    def analytic_error(self) -> float:
        """The same without a profile."""
        return self.analytic_ms / self.measured_ms - 1


@dataclass(frozen=True)
class Raced:
    """A plan that ran once more, in turns with the few others that could be the best.

    Attributes:
        tried: the plan.
        steps_ms: what its steps took.
    """

    tried: TriedPlan
    steps_ms: tuple[float, ...]

    @property
    def measured_ms(self) -> float:
        """What a step took, the median."""
        return median(self.steps_ms)


@dataclass(frozen=True)
class ShapeNumbers:
    """All plans of one model.

    Attributes:
        shape: of the model.
        profiles_s: how long each profile took.
        plans: that were measured.
        race: the planner's choice first, the best plans of the sweep, and the choices of passes.
        choices: what each pass's own profile and its trials have chosen, as plan=measure does; none
            in numbers from before there were trials.
    """

    shape: Shape
    profiles_s: tuple[float, ...]
    plans: tuple[PlanNumbers, ...]
    race: tuple[Raced, ...]
    choices: tuple[TriedPlan, ...] = ()

    @property
    def profile_s(self) -> float:
        """How long the first profile took, which is all that a user's process measures."""
        return self.profiles_s[0]

    @property
    def chosen(self) -> Raced:
        """The planner's choice."""
        return self.race[0]

    @property
    def best(self) -> Raced:
        """The plan whose step took least."""
        return min(self.race, key=lambda plan: plan.measured_ms)

    @property
    def loss(self) -> float:
        """By how much the chosen plan's step takes longer than the best one's, as a share."""
        return self.chosen.measured_ms / self.best.measured_ms - 1

    @property
    def quiet_loss(self) -> float:
        """The same by undisturbed rounds of the race."""
        rounds = quieter_half([plan.steps_ms for plan in self.race])
        taken = [median(plan.steps_ms[index] for index in rounds) for plan in self.race]
        return taken[0] / min(taken) - 1

    @property
    def errors(self) -> list[float]:
        """How far each prediction is off, without sign."""
        return [abs(plan.error) for plan in self.plans]

    @property
    def quiet_errors(self) -> list[float]:
        """The same by undisturbed profiles and rounds."""
        rounds = quieter_half([plan.steps_ms for plan in self.plans])
        profiles = quieter_half([plan.promised_ms for plan in self.plans])
        return [plan.error_in(profiles, rounds) for plan in self.plans]

    @property
    def errors_of_passes(self) -> list[float]:
        """How far predictions by one profile are off the steps right after it, without sign."""
        return [error for plan in self.plans for error in plan.errors_of_passes]

    @property
    def losses_of_passes(self) -> list[float]:
        """The loss of the plan of the sweep that each profile alone would have chosen."""
        least_ms = min(plan.measured_ms for plan in self.plans)
        chosen = (
            min(self.plans, key=lambda plan: plan.promised_ms[index])
            for index in range(len(self.profiles_s))
        )
        return [plan.measured_ms / least_ms - 1 for plan in chosen]

    @property
    def losses_with_trials(self) -> list[float]:
        """The loss of what each profile and its trials have chosen, by the race."""
        raced = {each.tried: each.measured_ms for each in self.race}
        return [raced[choice] / self.best.measured_ms - 1 for choice in self.choices]

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


def quieter_half(lines: Sequence[Sequence[float]]) -> list[int]:
    """Find the rounds that other guests of the machine disturbed least.

    What slows a machine down does so for all plans that run at the time. So a round is as disturbed
    as its times are above each plan's own median, in the middle of all plans.

    Args:
        lines: times of each plan, round by round.

    Returns:
        The indices of half of the rounds, rounded up.
    """
    n_rounds = len(lines[0])
    middles = [median(line) for line in lines]
    levels = [
        median(line[index] / middle for line, middle in zip(lines, middles, strict=True))
        for index in range(n_rounds)
    ]
    return sorted(sorted(range(n_rounds), key=levels.__getitem__)[: (n_rounds + 1) // 2])


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
                "promised_ms": tuple(plan["promised_ms"]),
                "steps_ms": tuple(plan["steps_ms"]),
            }
        )
        for plan in entries["plans"]
    )
    race = (
        Raced(TriedPlan(**raced["tried"]), tuple(raced["steps_ms"])) for raced in entries["race"]
    )
    choices = (TriedPlan(**choice) for choice in entries.get("choices", ()))
    return ShapeNumbers(
        Shape(**entries["shape"]),
        tuple(entries["profiles_s"]),
        plans,
        tuple(race),
        tuple(choices),
    )
