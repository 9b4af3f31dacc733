"""`python -m benchmarks`: measure the pipeline against nn.GRU, print tables, save them if asked."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from time import monotonic

from rich.console import Console

from benchmarks.driver import MAX_STOLEN, Limits, measure, undisturbed
from benchmarks.machine import this_machine
from benchmarks.readme import write_readme
from benchmarks.report import LEGEND, print_report
from benchmarks.results import Results, load, result_path, save
from benchmarks.samples import Round
from benchmarks.shapes import DEFAULT_SHAPES, QUICK_SHAPE, Shape
from benchmarks.summary import ShapeSummary, summarise
from benchmarks.variants import ALL_VARIANTS, QUICK_VARIANTS
from gru_parallel.errors import UsageError

EXTRA_ROUNDS = 2
"""At most so many times the wanted rounds are run in search of undisturbed ones."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.write_readme:
            write_readme(load(options.write_readme))
            return 0
        _run(options)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; nothing was saved.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--shape",
        action="append",
        metavar="H,B,T,L",
        help="hidden size, batch size, time steps, layers; may be given more than once"
        " (128 and 256, 32 and 64, 96, 4)",
    )
    parser.add_argument(
        "--rounds", type=_positive, default=10, help="undisturbed rounds wanted of each shape (10)"
    )
    parser.add_argument(
        "--steps", type=_positive, default=2, help="measured steps of each turn (2)"
    )
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="begin no round that would not end by then (8)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run of seconds; its numbers mean nothing"
    )
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json")
    parser.add_argument(
        "--write-readme",
        metavar="NAME",
        help="measure nothing; put the tables of results/NAME.json into benchmarks/README.md",
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _run(options: argparse.Namespace) -> None:
    if options.save:
        # A wrong name should not cost a measurement.
        result_path(options.save)
    console = Console()
    if not console.is_terminal:
        # In a file or a pipe nothing needs to fit a window.
        console = Console(width=120)
    results = Results(
        date=datetime.now(UTC).date().isoformat(),
        command=_command(options),
        machine=this_machine(),
        shapes=tuple(_measure_all(options, console)),
    )
    print_report(results, console)
    console.print(LEGEND)
    if options.save:
        console.print(f"Saved as {save(results, options.save).name}.")


def _measure_all(options: argparse.Namespace, console: Console) -> Iterator[ShapeSummary]:
    default = (QUICK_SHAPE,) if options.quick else DEFAULT_SHAPES
    shapes = tuple(Shape.parse(text) for text in options.shape or ()) or default
    variants = QUICK_VARIANTS if options.quick else ALL_VARIANTS
    n_rounds, n_steps = (2, 1) if options.quick else (options.rounds, options.steps)
    end = monotonic() + options.minutes * 60
    for index, shape in enumerate(shapes):
        # What a small shape leaves of its share goes to the larger ones after it.
        seconds = (end - monotonic()) / (len(shapes) - index)
        limits = Limits(n_rounds, n_rounds * EXTRA_ROUNDS, n_steps, seconds)
        with console.status(f"{shape}: starting the workers") as status:

            def on_round(rounds: Sequence[Round], shape: Shape = shape) -> None:
                left_out = len(rounds) - len(undisturbed(rounds))
                status.update(
                    f"{shape}: {len(rounds)} rounds, {left_out} lost more than {MAX_STOLEN:.0%}"
                )

            yield summarise(measure(shape, variants, limits, on_round))


def _command(options: argparse.Namespace) -> str:
    """The command that repeats this run."""
    words = ["python -m benchmarks"]
    if options.quick:
        words.append("--quick")
    for text in options.shape or ():
        words.append(f"--shape {text}")
    words.append(f"--rounds {options.rounds} --steps {options.steps} --minutes {options.minutes:g}")
    return " ".join(words)


if __name__ == "__main__":
    sys.exit(main())
