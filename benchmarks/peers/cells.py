"""`python -m benchmarks cells`: CPU time of each core on one thread, against nn.GRU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.peers.cells_variant import CellsVariant
from benchmarks.peers.cores import CORES
from benchmarks.shapes import Shape
from benchmarks.summary import Row, ShapeSummary
from benchmarks.tables import TextTable
from benchmarks.targets import Verdict
from benchmarks.timed import TimedBenchmark
from benchmarks.timed_tables import marked, rounds_note, targets_table
from benchmarks.variants import WholeGRU

CHUNK_STEPS = 6
JUDGED = "fused"
"""The core that has targets."""

MAX_CPU = {
    Shape(64, 32, 96, 4): 0.70,
    Shape(128, 32, 96, 4): 0.80,
    Shape(256, 32, 96, 4): 0.90,
    Shape(256, 64, 96, 4): 0.97,
    Shape(512, 64, 48, 4): 0.97,
    Shape(128, 4, 512, 4): 0.47,
}
"""Of the CPU time of nn.GRU, uncut."""

MAX_IN_CHUNKS = 1.06
"""Of the CPU time uncut."""

VARIANTS = tuple(CellsVariant(core, steps) for core in CORES for steps in (None, CHUNK_STEPS))


def tables(summaries: Sequence[ShapeSummary]) -> Iterator[TextTable]:
    """Make the tables: one of all shapes, then the targets."""
    cores = tuple(dict.fromkeys(row.system for row in summaries[0].rows[1:]))
    parts = ("", f" in chunks of {CHUNK_STEPS}", ": chunks against uncut")
    headings = [f"{core}{part}" for core in cores for part in parts]
    yield TextTable(
        "CPU time of a training step on one thread, of that of nn.GRU",
        ("shape", "nn.GRU, CPU ms", *headings),
        tuple(_line(summary, cores) for summary in summaries),
        " ".join(f"{summary.shape}: {rounds_note(summary)}" for summary in summaries),
    )
    yield targets_table([verdict for summary in summaries for verdict in judge(summary)])


def _line(summary: ShapeSummary, cores: Sequence[str]) -> tuple[str, ...]:
    whole = summary.rows[0]
    words = [str(summary.shape), f"{whole.cpu_ms:.1f}"]
    for core in cores:
        uncut, cut = _rows(summary, core)
        most = MAX_CPU.get(summary.shape) if core == JUDGED else None
        words += [
            _ratio(uncut, whole, most),
            _ratio(cut, whole, None),
            _ratio(cut, uncut, MAX_IN_CHUNKS if core == JUDGED else None),
        ]
    return tuple(words)


def _rows(summary: ShapeSummary, core: str) -> tuple[Row, Row]:
    uncut, cut = (row for row in summary.rows if row.system == core)
    return uncut, cut


def _ratio(row: Row, other: Row, most: float | None) -> str:
    low, median, high = row.cpu_of(other)
    return marked(f"{median:.2f} ({low:.2f}-{high:.2f})", most is None or median <= most)


def judge(summary: ShapeSummary) -> Iterator[Verdict]:
    """Hold a shape's numbers against the targets."""
    if not any(row.system == JUDGED for row in summary.rows):
        return
    whole, (uncut, cut) = summary.rows[0], _rows(summary, JUDGED)
    most = MAX_CPU.get(summary.shape)
    if most is not None:
        target = f"{JUDGED}, uncut: at most {most} of the CPU time of nn.GRU"
        yield _verdict(summary, target, uncut.cpu_of(whole).median, most)
    target = f"{JUDGED}, in chunks of {CHUNK_STEPS} steps: at most {MAX_IN_CHUNKS} of uncut"
    yield _verdict(summary, target, cut.cpu_of(uncut).median, MAX_IN_CHUNKS)


def _verdict(summary: ShapeSummary, target: str, measured: float, most: float) -> Verdict:
    return Verdict(summary.shape, target, f"{measured:.3f}", measured <= most)


CELLS = TimedBenchmark(
    name="cells",
    about="CPU time of each core on one thread against nn.GRU",
    legend=(
        "! marks what misses its target. CPU time as a share of that of nn.GRU with one thread, in"
        " each round; median, quartiles in brackets."
    ),
    shapes=tuple(MAX_CPU),
    quick_shape=Shape(hidden_size=16, batch_size=4, n_steps=16, num_layers=4),
    variants=(WholeGRU(1), *VARIANTS),
    quick_variants=(WholeGRU(1), *VARIANTS[:2]),
    make_tables=tables,
)
