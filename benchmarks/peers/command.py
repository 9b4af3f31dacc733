"""`python -m benchmarks peers`: this library against all others that do its job."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from benchmarks.benchmark import positive
from benchmarks.driver import Choose
from benchmarks.peers.build import build_of
from benchmarks.peers.choose import fastest_of_each
from benchmarks.peers.cores import USUAL_CORE
from benchmarks.peers.shapes import SHAPES, parse_shape
from benchmarks.peers.systems import systems, threads_of
from benchmarks.peers.tables import tables
from benchmarks.peers.variants import EngineVariant, ModelParallel, Runner, TorchPipelining
from benchmarks.shapes import Shape
from benchmarks.summary import ShapeSummary
from benchmarks.timed import TimedBenchmark
from benchmarks.variant import Variant
from benchmarks.variants import WholeGRU


@dataclass(frozen=True)
class PeersBenchmark(TimedBenchmark):
    """See `TimedBenchmark`."""

    def add_options(self, parser: ArgumentParser) -> None:
        """Add how many plans go on after the first round, and another build to compare with."""
        super().add_options(parser)
        parser.add_argument(
            "--plans",
            type=positive,
            default=2,
            help="the fastest of each system, when every plan has run once, go on (2)",
        )
        parser.add_argument(
            "--against",
            type=Path,
            metavar="DIR",
            help="a git worktree of another commit, whose threads are measured, too",
        )

    def repeat_with(self, options: Namespace) -> str:
        """See `Benchmark`."""
        # Whoever repeats it has a folder of another name.
        against = "" if options.against is None else " --against DIR"
        return f"{super().repeat_with(options)} --plans {options.plans}{against}"

    def parse_shape(self, text: str) -> Shape:
        """See `TimedBenchmark`."""
        return parse_shape(text)

    def measure(self, options: Namespace, console: Console) -> Iterator[ShapeSummary]:
        """See `TimedBenchmark`.

        Raises:
            UsageError: --against is no checkout of this library.
        """
        if find_spec("torchgpipe") is None:
            console.print("torchgpipe is not installed and is left out: pip install torchgpipe")
        with nullcontext() if options.against is None else build_of(options.against) as build:
            options.build = build
            yield from super().measure(options, console)

    def variants_of(self, options: Namespace, shape: Shape) -> tuple[Variant, ...]:
        """See `TimedBenchmark`."""
        build = options.build
        return (*super().variants_of(options, shape), *(() if build is None else threads_of(build)))

    def choose_of(self, options: Namespace) -> Choose:
        """See `TimedBenchmark`."""
        return partial(fastest_of_each, n_plans=options.plans)


PEERS = PeersBenchmark(
    name="peers",
    about="this library against nn.GRU, model parallelism and other pipelines",
    legend=(
        "! marks what misses its target. against: how many times as fast, median over the rounds."
        " peak MiB: what a step adds to the memory of its process, or of each of its two."
    ),
    shapes=tuple(SHAPES.values()),
    quick_shape=Shape(hidden_size=16, batch_size=4, n_steps=16, num_layers=4),
    variants=systems(),
    quick_variants=(
        WholeGRU(1),
        ModelParallel(),
        TorchPipelining("gpipe", 2),
        EngineVariant(Runner.THREADS, "gpipe", 1, 4, USUAL_CORE),
        EngineVariant(Runner.THREADS, "gpipe", 2, 4, USUAL_CORE),
        EngineVariant(Runner.PROCESSES, "gpipe", 2, core=USUAL_CORE),
        EngineVariant(Runner.PROCESSES, "gpipe", 1, 4, USUAL_CORE),
    ),
    make_tables=tables,
    minutes=40.0,
)
