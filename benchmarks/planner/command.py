"""`python -m benchmarks planner`: predicted step times against measured ones, and the choice."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks.benchmark import Benchmark, positive
from benchmarks.planner.cases import QUICK_SHAPES, SHAPES, sweep
from benchmarks.planner.numbers import (
    MAX_LOSS,
    MAX_MEDIAN_ERROR,
    MAX_PROFILE_S,
    MAX_WORST_ERROR,
    Errors,
    PlanNumbers,
    ShapeNumbers,
    read_numbers,
)
from benchmarks.shapes import Shape
from benchmarks.tables import TextTable


class PlannerBenchmark(Benchmark[ShapeNumbers]):
    """See `Benchmark`."""

    name = "planner"
    about = "predicted step times against measured ones, and the plan that is chosen by them"
    legend = (
        "error: predicted / measured - 1, by profiles measured in turns with the steps."
        " loss: by how much the chosen plan's step takes longer than that of the best plan."
    )

    def add_options(self, parser: ArgumentParser) -> None:
        """Add shapes and rounds."""
        parser.add_argument(
            "--shape",
            action="append",
            metavar="H,B,T,L",
            help="hidden size, batch size, time steps, layers; may be given more than once",
        )
        parser.add_argument("--rounds", type=positive, default=16, help="rounds of each shape (16)")

    def repeat_with(self, options: Namespace) -> str:
        """See `Benchmark`."""
        shapes = [f"--shape {text}" for text in options.shape or ()]
        return " ".join([*shapes, f"--rounds {options.rounds}"])

    def measure(self, options: Namespace, console: Console) -> Iterator[ShapeNumbers]:
        """Measure one model after the other; one whose process dies is left out.

        Raises:
            UsageError: a shape cannot be read.
            RuntimeError: the process of every model died.
        """
        default = QUICK_SHAPES if options.quick else SHAPES
        shapes = tuple(Shape.parse(text) for text in options.shape or ()) or default
        n_rounds = 1 if options.quick else options.rounds
        n_died = 0
        for number, shape in enumerate(shapes, start=1):
            try:
                numbers = _measure_alone(shape, n_rounds)
            except BrokenProcessPool as error:
                n_died += 1
                if n_died == len(shapes):
                    raise
                outcome = f"left out, since {error}"
            else:
                outcome = f"{len(numbers.plans)} plans"
                yield numbers
            console.print(f"{number} of {len(shapes)}: {shape}: {outcome}")

    def tables(self, numbers: Sequence[ShapeNumbers]) -> Iterator[TextTable]:
        """Make the table of all models, the targets, and each model's own table."""
        yield TextTable("Every model", _HEADINGS, tuple(map(_line, numbers)), _note(numbers))
        yield TextTable("Targets", ("target", "measured", ""), _verdicts(numbers), of_text=True)
        for own in numbers:
            rows = tuple(_plan_line(plan, own) for plan in own.plans)
            yield TextTable(str(own.shape), _PLAN_HEADINGS, rows)

    def read(self, entries: Mapping[str, Any]) -> ShapeNumbers:
        """See `Benchmark`."""
        return read_numbers(entries)


def _measure_alone(shape: Shape, n_rounds: int) -> ShapeNumbers:
    """Measure a model in a fresh process."""
    # As the commands do; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, shape, sweep(shape), n_rounds).result()


def _measure(shape: Shape, tried: Sequence[Any], n_rounds: int) -> ShapeNumbers:
    # Here and not above: the process that shows the tables has no use for torch.
    from benchmarks.planner.measured import measure_shape

    return measure_shape(shape, tried, n_rounds)


_HEADINGS = (
    "model",
    "profile, s",
    "plans",
    "error: median",
    "mean",
    "worst",
    "undisturbed: median",
    "mean",
    "worst",
    "one profile: median",
    "measured twice: median",
    "worst",
    "without a profile: median",
    "worst",
    "in order",
    "chosen",
    "best",
    "loss",
    "undisturbed",
    "one profile: loss",
    "one profile and trials: loss",
)

_PLAN_HEADINGS = ("plan", "measured, ms", "predicted, ms", "error", "without a profile")


def _line(own: ShapeNumbers) -> tuple[str, ...]:
    errors, quiet = Errors.of(own.errors), Errors.of(own.quiet_errors)
    repeated = Errors.of(own.repeat_errors)
    analytic = Errors.of([abs(plan.analytic_error) for plan in own.plans])
    return (
        str(own.shape),
        f"{own.profile_s:.1f}",
        str(errors.n_plans),
        f"{errors.median:.1%}",
        f"{errors.mean:.1%}",
        f"{errors.worst:.1%}",
        f"{quiet.median:.1%}",
        f"{quiet.mean:.1%}",
        f"{quiet.worst:.1%}",
        f"{median(own.errors_of_passes):.1%}",
        f"{repeated.median:.1%}",
        f"{repeated.worst:.1%}",
        f"{analytic.median:.1%}",
        f"{analytic.worst:.1%}",
        f"{own.in_order:.1%}",
        f"{own.chosen.tried} ({own.chosen.measured_ms:.1f} ms)",
        f"{own.best.tried} ({own.best.measured_ms:.1f} ms)",
        f"{own.loss:.1%}",
        f"{own.quiet_loss:.1%}",
        _median_and_worst(own.losses_of_passes),
        _median_and_worst(own.losses_with_trials),
    )


def _median_and_worst(losses: Sequence[float]) -> str:
    return f"{median(losses):.1%}, {max(losses):.1%}" if losses else "-"


def _plan_line(plan: PlanNumbers, own: ShapeNumbers) -> tuple[str, ...]:
    mark = ", chosen" if plan.tried == own.chosen.tried else ""
    return (
        f"{plan.tried}{mark}",
        f"{plan.measured_ms:.2f}",
        f"{plan.predicted_ms:.2f}",
        f"{plan.error:+.1%}",
        f"{plan.analytic_error:+.1%}",
    )


def _note(numbers: Sequence[ShapeNumbers]) -> str:
    rounds = sorted({len(plan.steps_ms) for own in numbers for plan in own.plans})
    repeated = Errors.of([error for own in numbers for error in own.repeat_errors])
    single = Errors.of([error for own in numbers for error in own.errors_of_passes])
    return (
        f"The median of {' or '.join(map(str, rounds))} steps, and of predictions by"
        f" {len(numbers[0].profiles_s)} profiles made in turns with them. undisturbed: by the half"
        " of the rounds, and of the profiles, in which times were least, in the middle of all"
        " plans. one profile: predictions"
        " by a single profile, against the few steps right after it:"
        f" {single.median:.1%} off in the median of all; loss: in the median and at worst, of the"
        " plan of the sweep that each profile alone would have chosen, and in the race of what it"
        " and its trials have chosen, as plan=measure does. measured twice: how far the"
        " first half of a plan's steps is from the second, by nothing but chance:"
        f" {repeated.median:.1%} in the median of all plans, {repeated.worst:.1%} at worst. in"
        " order: of all pairs of plans whose steps differ by 5 % or more, the share predicted in"
        " their order. loss: of the choice by all profiles, in a race with the plans of the sweep"
        " that took least."
    )


def _verdicts(numbers: Sequence[ShapeNumbers]) -> tuple[tuple[str, ...], ...]:
    every = Errors.of([error for own in numbers for error in own.errors])
    quiet = Errors.of([error for own in numbers for error in own.quiet_errors])
    loss = max(own.quiet_loss for own in numbers)
    return tuple(
        (target, measured, "met" if is_met else "MISSED")
        for target, measured, is_met in (
            (
                f"the median error is at most {MAX_MEDIAN_ERROR:.0%}",
                f"{quiet.median:.1%} of {quiet.n_plans} plans (mean {quiet.mean:.1%};"
                f" with disturbed rounds {every.median:.1%}, {every.mean:.1%})",
                quiet.median <= MAX_MEDIAN_ERROR,
            ),
            (
                f"no error is above {MAX_WORST_ERROR:.0%}",
                f"{quiet.worst:.1%} (with disturbed rounds {every.worst:.1%})",
                quiet.worst <= MAX_WORST_ERROR,
            ),
            (
                f"no chosen plan is more than {MAX_LOSS:.0%} slower than the best",
                f"{loss:.1%} (with disturbed rounds {max(own.loss for own in numbers):.1%})",
                loss <= MAX_LOSS,
            ),
            (
                f"a profile of {numbers[0].shape} takes at most {MAX_PROFILE_S:.0f} s",
                f"{numbers[0].profile_s:.1f} s",
                numbers[0].profile_s <= MAX_PROFILE_S,
            ),
        )
    )


PLANNER = PlannerBenchmark()
