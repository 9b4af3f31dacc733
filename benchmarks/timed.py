"""TimedBenchmark: variants of a training step, timed against each other at several shapes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from rich.console import Console

from benchmarks.benchmark import Benchmark, positive
from benchmarks.driver import MAX_STOLEN, Choose, Limits, measure, undisturbed
from benchmarks.samples import Round
from benchmarks.shapes import Shape
from benchmarks.summary import ShapeSummary, read_summary, summarise
from benchmarks.tables import TextTable
from benchmarks.variant import Variant

EXTRA_ROUNDS = 2
"""At most so many times the wanted rounds are run in search of undisturbed ones."""


@dataclass(frozen=True)
class TimedBenchmark(Benchmark[ShapeSummary]):
    """See `Benchmark`.

    Attributes:
        name: see `Benchmark`.
        about: see `Benchmark`.
        legend: see `Benchmark`.
        shapes: measured where --shape names none.
        quick_shape: of a smoke run.
        variants: what takes its turn in each round.
        quick_variants: of a smoke run.
        make_tables: from the summaries of the shapes.
        minutes: that a measurement takes.
    """

    name: str
    about: str
    legend: str
    shapes: tuple[Shape, ...]
    quick_shape: Shape
    variants: tuple[Variant, ...]
    quick_variants: tuple[Variant, ...]
    make_tables: Callable[[Sequence[ShapeSummary]], Iterator[TextTable]]
    minutes: float = 8.0

    def add_options(self, parser: ArgumentParser) -> None:
        """Add the shapes, and how long to measure."""
        parser.add_argument(
            "--shape",
            action="append",
            metavar="H,B,T,L",
            help="hidden size, batch size, time steps, layers; may be given more than once"
            f" ({', '.join(shape.option for shape in self.shapes)})",
        )
        parser.add_argument(
            "--rounds",
            type=positive,
            default=10,
            help="undisturbed rounds wanted of each shape (10)",
        )
        parser.add_argument(
            "--steps", type=positive, default=2, help="measured steps of each turn (2)"
        )
        parser.add_argument(
            "--minutes",
            type=float,
            default=self.minutes,
            help=f"begin no round that would not end by then ({self.minutes:g})",
        )

    def repeat_with(self, options: Namespace) -> str:
        """See `Benchmark`."""
        words = [f"--shape {text}" for text in options.shape or ()]
        words.append(
            f"--rounds {options.rounds} --steps {options.steps} --minutes {options.minutes:g}"
        )
        return " ".join(words)

    def measure(self, options: Namespace, console: Console) -> Iterator[ShapeSummary]:
        """Measure one shape after the other; one at which a worker fails is left out.

        Raises:
            RuntimeError: a worker failed at every shape.
        """
        default = (self.quick_shape,) if options.quick else self.shapes
        shapes = tuple(self.parse_shape(text) for text in options.shape or ()) or default
        n_rounds, n_steps = (2, 1) if options.quick else (options.rounds, options.steps)
        end = monotonic() + options.minutes * 60
        n_failed = 0
        for index, shape in enumerate(shapes):
            # What a small shape leaves of its share goes to the larger ones after it.
            seconds = (end - monotonic()) / (len(shapes) - index)
            limits = Limits(n_rounds, n_rounds * EXTRA_ROUNDS, n_steps, seconds)
            try:
                summary, outcome = self._measure_shape(shape, limits, options, console)
            except RuntimeError as error:
                n_failed += 1
                if n_failed == len(shapes):
                    raise
                outcome = f"left out, since {error}"
            else:
                yield summary
            console.print(f"{index + 1} of {len(shapes)}: {shape}: {outcome}", highlight=False)

    def _measure_shape(
        self, shape: Shape, limits: Limits, options: Namespace, console: Console
    ) -> tuple[ShapeSummary, str]:
        """Measure a shape; say what it took, too."""
        began = monotonic()
        with console.status(f"{shape}: starting the workers") as status:

            def on_round(rounds: Sequence[Round]) -> None:
                n_left_out = len(rounds) - len(undisturbed(rounds))
                lost = f"{n_left_out} lost more than {MAX_STOLEN:.0%}"
                status.update(f"{shape}: {len(rounds)} rounds, {lost}")

            variants, choose = self.variants_of(options, shape), self.choose_of(options)
            summary = summarise(measure(shape, variants, limits, on_round, choose))
        took = f"{summary.n_run} rounds of {len(summary.rows)} variants"
        return summary, f"{took} in {monotonic() - began:.0f} s"

    def parse_shape(self, text: str) -> Shape:
        """Read a shape as --shape gives it."""
        return Shape.parse(text)

    def variants_of(self, options: Namespace, shape: Shape) -> tuple[Variant, ...]:
        """Return what is measured at a shape, as far as it fits."""
        del shape
        return self.quick_variants if options.quick else self.variants

    def choose_of(self, options: Namespace) -> Choose | None:
        """Return what chooses among the variants when each has run once; None for all."""
        del options
        return None

    def tables(self, numbers: Sequence[ShapeSummary]) -> Iterator[TextTable]:
        """See `Benchmark`."""
        return self.make_tables(numbers)

    def read(self, entries: Mapping[str, Any]) -> ShapeSummary:
        """See `Benchmark`."""
        return read_summary(entries)
