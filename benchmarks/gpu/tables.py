"""The tables of a measurement on GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from benchmarks.gpu.cases import Case, Way
from benchmarks.gpu.numbers import GPUNumbers
from benchmarks.gpu.predicted import Prediction, predictions
from benchmarks.gpu.targets import Found, judge_all
from benchmarks.tables import TextTable
from benchmarks.timed_tables import targets_table

MIB = 2**20
HEADINGS = (
    "",
    "step ms (range)",
    "x nn.GRU in a graph",
    "times as fast as nn.GRU",
    "host ms",
    "peak MiB",
    "held MiB",
)
LAUNCHES_HEADINGS = ("", "of graphs", "of kernels", "copies", "2 per cell", "2 per hand-over")


def tables(numbers: Sequence[GPUNumbers]) -> Iterator[TextTable]:
    """Make the tables: one for each shape and type, launches, targets, what is missing."""
    begun = [own for own in numbers if own.reading is not None or own.seconds > 0]
    found = Found(numbers)
    predicted = list(predictions(numbers))
    for title in dict.fromkeys(_title(own.case) for own in begun):
        here = [own for own in begun if _title(own.case) == title]
        rows = [_words(own, found) for own in here if own.case.way is not Way.LAUNCHES]
        rows += [_predicted_words(own, found) for own in predicted if _title(own.case) == title]
        if rows:
            yield TextTable(title, HEADINGS, tuple(rows))
    yield from _launches_table(begun)
    yield targets_table(judge_all(numbers))
    yield from _left_out_table(numbers)


def _title(case: Case) -> str:
    """Name the table of a case."""
    return f"{case.shape}, {case.precision.of_nn_gru}"


def _words(own: GPUNumbers, found: Found) -> tuple[str, ...]:
    """The words of a case's line."""
    reading = own.reading
    if reading is None:
        return (own.case.name, own.why_not, *[""] * (len(HEADINGS) - 2))
    low, high = min(reading.steps_ms), max(reading.steps_ms)
    return (
        own.case.name,
        f"{reading.step_ms:.2f} ({low:.2f}-{high:.2f})",
        *(("", "") if own.case.way is Way.STAGE else _compared(own.case, reading.step_ms, found)),
        f"{reading.host_ms:.2f}",
        _mib(reading.peak_bytes),
        _mib(reading.held_bytes),
    )


def _predicted_words(own: Prediction, found: Found) -> tuple[str, ...]:
    case = own.case
    name = f"predicted, not measured: S={case.n_stages} C={case.n_chunks} on {case.n_stages} GPUs"
    return (name, f"{own.step_ms:.2f}", *_compared(case, own.step_ms, found), "", "", "")


def _compared(case: Case, step_ms: float, found: Found) -> tuple[str, str]:
    """Compare a whole step with nn.GRU's in a graph, and with nn.GRU as people call it."""
    whole = Case(Way.NN_GRAPH, case.shape, case.precision.of_nn_gru)
    graph, eager = found.reading(whole), found.reading(replace(whole, way=Way.NN_GRU))
    return (
        "" if graph is None else f"{step_ms / graph.step_ms:.2f}",
        "" if eager is None else f"{eager.step_ms / step_ms:.2f}",
    )


def _mib(n_bytes: int | None) -> str:
    return "" if n_bytes is None else f"{n_bytes / MIB:,.0f}"


def _launches_table(numbers: Sequence[GPUNumbers]) -> Iterator[TextTable]:
    """What one step asks of the GPU, beside 2 launches for a cell and 2 for a hand-over."""
    rows = tuple(
        (f"{own.case.shape}: {own.case.name}", *_launches(own))
        for own in numbers
        if own.case.way is Way.LAUNCHES
    )
    if rows:
        yield TextTable("Launches of one step", LAUNCHES_HEADINGS, rows)


def _launches(own: GPUNumbers) -> tuple[str, ...]:
    if own.reading is None:
        return (own.why_not, *[""] * (len(LAUNCHES_HEADINGS) - 2))
    case = own.case
    counted: Mapping[str, int] = own.reading.launches or {}
    graphs = sum(n for name, n in counted.items() if "GraphLaunch" in name)
    copies = sum(n for name, n in counted.items() if "Memcpy" in name or "Memset" in name)
    kernels = sum(counted.values()) - graphs - copies
    cells = 2 * case.n_stages * case.n_chunks
    hand_overs = 2 * (case.n_stages - 1) * case.n_chunks
    return tuple(map(str, (graphs, kernels, copies, cells, hand_overs)))


def _left_out_table(numbers: Sequence[GPUNumbers]) -> Iterator[TextTable]:
    left_out = [own.case for own in numbers if own.reading is None and own.seconds == 0]
    if not left_out:
        return
    names: dict[str, list[str]] = {}
    for case in left_out:
        names.setdefault(_title(case), []).append(case.name)
    rows = tuple((title, "; ".join(cases)) for title, cases in names.items())
    title = f"Left out for want of time: {len(left_out)} of {len(numbers)} cases"
    yield TextTable(title, ("shape", "cases"), rows, of_text=True)
