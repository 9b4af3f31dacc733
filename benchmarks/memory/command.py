"""`python -m benchmarks memory`: what a training step takes as the sequence grows."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from benchmarks.benchmark import Benchmark, positive
from benchmarks.memory.alone import read_alone
from benchmarks.memory.cases import (
    ALL_CASES,
    BATCH_SIZE,
    HIDDEN_SIZE,
    NUM_LAYERS,
    QUICK_CASES,
    STEPS_A_CHUNK,
    Kind,
)
from benchmarks.memory.numbers import (
    MAX_LEAN,
    MAX_RECOMPUTED,
    MAX_SHARE,
    Growth,
    MemoryNumbers,
    Saving,
    growth,
    read_numbers,
    savings,
)
from benchmarks.resident import CLEAR_REFS
from benchmarks.tables import TextTable
from gru_parallel.errors import UsageError

MIB = 2**20

HEADINGS = (
    "step",
    "T",
    "chunks",
    "peak RSS, MiB (range)",
    "saved activations, MiB (x T B H a layer)",
    "Python objects, MiB",
    "cells alive a stage",
)


class MemoryBenchmark(Benchmark[MemoryNumbers]):
    """See `Benchmark`."""

    name = "memory"
    about = "memory of a training step as the sequence grows"
    legend = (
        "All above what was there before the step. peak RSS: of the process, median of several."
        " saved activations: what is kept for backward, each stage's peak added up. Python"
        " objects: schedule, events and all else that Python allocates itself."
    )

    def add_options(self, parser: ArgumentParser) -> None:
        """Add how often RSS is measured."""
        parser.add_argument(
            "--repeats", type=positive, default=3, help="processes that measure each RSS (3)"
        )

    def repeat_with(self, options: Namespace) -> str:
        """See `Benchmark`."""
        return f"--repeats {options.repeats}"

    def measure(self, options: Namespace, console: Console) -> Iterator[MemoryNumbers]:
        """Measure one case after the other, each gauge in a fresh process.

        Raises:
            UsageError: the system does not count what is asked for.
        """
        if not CLEAR_REFS.exists():
            raise UsageError(f"memory is measured with {CLEAR_REFS}, which only Linux has.")
        n_repeats = 1 if options.quick else options.repeats
        for case in QUICK_CASES if options.quick else ALL_CASES:
            with console.status(str(case)):
                resident = [read_alone(case, "resident") for _ in range(n_repeats)]
                yield MemoryNumbers(
                    case,
                    tuple(reading.peak_bytes for reading in resident),
                    read_alone(case, "saved").peak_bytes,
                    read_alone(case, "python").peak_bytes,
                    resident[0].peak_cells,
                )

    def tables(self, numbers: Sequence[MemoryNumbers]) -> Iterator[TextTable]:
        """Make the table of all cases, then that of the targets."""
        grown = growth(numbers)
        title = f"H={HIDDEN_SIZE}, B={BATCH_SIZE}, L={NUM_LAYERS}, {STEPS_A_CHUNK} steps a chunk"
        note = (
            f"Python objects of {Kind.TRUNCATED} grow by"
            f" {grown.python_bytes_a_chunk / 1e3:.1f} kB a chunk."
        )
        yield TextTable(title, HEADINGS, tuple(_words(own) for own in numbers), note)
        of_kinds = (*_verdict_on_lean(numbers), *map(_verdict_on, savings(numbers)))
        verdicts = (*_verdicts(grown), *of_kinds)
        yield TextTable("Targets", ("target", "measured", ""), verdicts, of_text=True)

    def read(self, entries: Mapping[str, Any]) -> MemoryNumbers:
        """See `Benchmark`."""
        return read_numbers(entries)


def _words(own: MemoryNumbers) -> tuple[str, ...]:
    """The words of a case's line."""
    low, high = (size / MIB for size in (min(own.resident_bytes), max(own.resident_bytes)))
    return (
        str(own.case.kind),
        f"{own.case.n_steps:,}",
        f"{own.case.n_chunks:,}" if own.peak_cells else "",
        f"{own.middle_resident_bytes / MIB:,.1f} ({low:,.1f}-{high:,.1f})",
        f"{own.saved_bytes / MIB:,.1f} ({own.saved_of_outputs:.2f})",
        f"{own.python_bytes / MIB:,.2f}",
        ", ".join(str(n) for n in own.peak_cells),
    )


def _verdicts(grown: Growth) -> tuple[tuple[str, ...], ...]:
    """Say of each target whether the truncated step meets it."""
    first, last = (own.case.n_steps for own in (grown.first, grown.last))
    span = f"from T={first:,} to T={last:,}"
    return (
        (
            f"a time step more takes at most {MAX_SHARE:.0%} of what it takes without truncation",
            f"{grown.resident_bytes / MIB:+.1f} MiB {span}: {grown.bytes_a_step:,.0f} bytes a step"
            f" of {grown.full_bytes_a_step:,.0f}",
            "met" if grown.resident_is_flat else "MISSED",
        ),
        (
            "saved activations do not grow",
            f"{grown.saved_bytes / MIB:+.1f} MiB {span}",
            "met" if grown.saved_is_flat else "MISSED",
        ),
    )


def _verdict_on_lean(numbers: Sequence[MemoryNumbers]) -> Iterator[tuple[str, ...]]:
    """Say whether the lean core meets its target, at its longest sequence."""
    lean = [own for own in numbers if own.case.kind is Kind.LEAN]
    if lean:
        longest = max(lean, key=lambda own: own.case.n_steps)
        kept = longest.saved_of_outputs
        target = f"{Kind.LEAN} saves at most {MAX_LEAN} x T B H a layer"
        yield target, f"{kept:.2f} x", "met" if kept <= MAX_LEAN else "MISSED"


def _verdict_on(saving: Saving) -> tuple[str, ...]:
    """Say whether a step that recomputes keeps little enough."""
    own, whole = (each.saved_bytes / MIB for each in (saving.own, saving.whole))
    return (
        f"{saving.own.case} keeps at most {MAX_RECOMPUTED:.0%} of what nn.GRU does",
        f"{own:,.1f} of {whole:,.1f} MiB: {saving.share:.1%}",
        "met" if saving.is_enough else "MISSED",
    )


MEMORY = MemoryBenchmark()
