"""`python -m benchmarks`: measure, print tables; save them and show them in the README if asked.

The tools among its sub-commands count, compare or time one thing; they keep no tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from rich.console import Console

from benchmarks.benchmark import Benchmark
from benchmarks.depth.command import DEPTH
from benchmarks.employment.command import EMPLOYMENT
from benchmarks.etth1.command import ETTH1
from benchmarks.fingerprints import FINGERPRINTS
from benchmarks.gpu.command import GPU
from benchmarks.memory.command import MEMORY
from benchmarks.packed import PACKED
from benchmarks.peers.cells import CELLS
from benchmarks.peers.command import PEERS
from benchmarks.peers.scaling import SCALING
from benchmarks.planner.command import PLANNER
from benchmarks.queueing import QUEUEING
from benchmarks.readme import write_section
from benchmarks.report import markdown, print_report
from benchmarks.results import Results, load, path_to_save, save
from benchmarks.simulator import SIMULATOR
from benchmarks.speed import SPEED
from benchmarks.step_trace import TRACE
from gru_parallel.errors import UsageError

BENCHMARKS: tuple[Benchmark[Any], ...] = (
    SPEED,
    PACKED,
    MEMORY,
    PEERS,
    CELLS,
    SCALING,
    PLANNER,
    GPU,
    ETTH1,
    EMPLOYMENT,
    DEPTH,
)
TOOLS = (FINGERPRINTS, TRACE, SIMULATOR, QUEUEING)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; nothing was saved.", file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="BENCHMARK")
    for benchmark in BENCHMARKS:
        command = commands.add_parser(benchmark.name, help=benchmark.about)
        command.set_defaults(run=partial(_run, benchmark))
        benchmark.add_options(command)
        command.add_argument(
            "--quick", action="store_true", help="a smoke run of seconds; its numbers mean nothing"
        )
        command.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
        command.add_argument(
            "--write-readme",
            metavar="NAME",
            help="measure nothing; put the tables of results/NAME.json into benchmarks/README.md",
        )
    for tool in TOOLS:
        command = commands.add_parser(tool.name, help=tool.about)
        command.set_defaults(run=tool.run)
        tool.add_options(command)
    return parser


def _run(benchmark: Benchmark[Any], options: argparse.Namespace) -> int:
    if options.write_readme:
        results = load(options.write_readme, benchmark)
        write_section(benchmark.name, markdown(results, benchmark.tables(results.numbers)))
    else:
        _measure(benchmark, options)
    return 0


def _measure(benchmark: Benchmark[Any], options: argparse.Namespace) -> None:
    if options.save:
        # A wrong name should not cost a measurement.
        path_to_save(options.save, benchmark.name)
    console = _console()
    words = ["python -m benchmarks", benchmark.name, *(["--quick"] if options.quick else [])]
    results = Results(
        benchmark=benchmark.name,
        date=datetime.now(UTC).date().isoformat(),
        command=" ".join([*words, benchmark.repeat_with(options)]).strip(),
        machine=benchmark.machine(options),
        numbers=tuple(benchmark.measure(options, console)),
    )
    # What fails while it is printed should not cost a measurement either.
    saved = save(results, options.save) if options.save else None
    print_report(results, benchmark.tables(results.numbers), console)
    console.print(benchmark.legend)
    if saved is not None:
        console.print(f"Saved as {saved.name}.")


def _console() -> Console:
    """Return where a benchmark prints: what it prints is text, brackets in errors included."""
    of_text = partial(Console, markup=False, emoji=False)
    console = of_text()
    # In a file or a pipe nothing needs to fit a window.
    return console if console.is_terminal else of_text(width=120)


if __name__ == "__main__":
    sys.exit(main())
