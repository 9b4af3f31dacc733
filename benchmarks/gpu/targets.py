"""What the pipeline is meant to reach on GPUs, and whether a measurement shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.gpu.cases import FULL, MAIN, Case, Precision, Way
from benchmarks.gpu.numbers import GPUNumbers, Reading
from benchmarks.gpu.predicted import predictions
from benchmarks.shapes import Shape
from benchmarks.targets import Verdict

MAX_UNCUT = 1.03
MAX_IN_8_CHUNKS = 1.15
MIN_SPEEDUP = {Precision.TF32: 3.0, Precision.BFLOAT16: 4.5}
MAX_HOST_MS = 0.2
MAX_AGAINST_NN_GRU = 1.03
MIN_PREDICTED = 1.9
PREDICTED_STAGES, CHUNKS = 4, 16


class Found:
    """Readings by case.

    Args:
        numbers: of a measurement.
    """

    def __init__(self, numbers: Sequence[GPUNumbers]) -> None:
        self._readings = {own.case: own.reading for own in numbers if own.reading is not None}

    def reading(self, case: Case) -> Reading | None:
        """Return what was read; None where the case was not measured."""
        return self._readings.get(case)

    def ratio(self, case: Case, other: Case) -> float | None:
        """Return the step of a case over that of another; None where one was not measured."""
        own, theirs = self.reading(case), self.reading(other)
        return None if own is None or theirs is None else own.step_ms / theirs.step_ms


def judge_all(numbers: Sequence[GPUNumbers]) -> tuple[Verdict, ...]:
    """Hold a measurement against the targets; of what was not measured it is said."""
    shapes = dict.fromkeys(own.case.shape for own in numbers)
    of_shapes = [
        verdict
        for shape in FULL.targets
        if shape in shapes
        for precision in MAIN
        for verdict in _of_shape(numbers, shape, precision)
    ]
    return (*of_shapes, *_never_slower(numbers))


def _of_shape(
    numbers: Sequence[GPUNumbers], shape: Shape, precision: Precision
) -> Iterator[Verdict]:
    found = Found(numbers)
    nn_gru, nn_graph, uncut = (
        Case(way, shape, precision) for way in (Way.NN_GRU, Way.NN_GRAPH, Way.GRAPHS)
    )

    def at_most(what: str, measured: float | None, largest: float, unit: str) -> Verdict:
        met = None if measured is None else measured <= largest
        return Verdict(shape, f"{precision}: {what}", _words(measured, unit), met)

    def at_least(what: str, measured: float | None, smallest: float) -> Verdict:
        met = None if measured is None else measured >= smallest
        return Verdict(shape, f"{precision}: {what}", _words(measured, "x"), met)

    yield at_most(
        f"one stage, uncut, in graphs: at most {MAX_UNCUT} x nn.GRU in a graph",
        found.ratio(uncut, nn_graph),
        MAX_UNCUT,
        "x",
    )
    speedup = MIN_SPEEDUP[precision]
    yield at_least(
        f"the same: at least {speedup} x as fast as nn.GRU", found.ratio(nn_gru, uncut), speedup
    )
    yield at_most(
        f"8 chunks, in graphs: at most {MAX_IN_8_CHUNKS} x nn.GRU in a graph",
        found.ratio(replace(uncut, n_chunks=8), nn_graph),
        MAX_IN_8_CHUNKS,
        "x",
    )
    cut = found.reading(replace(uncut, n_chunks=CHUNKS))
    yield at_most(
        f"the host queues {CHUNKS} chunks of a stage in at most {MAX_HOST_MS} ms",
        None if cut is None else cut.host_ms,
        MAX_HOST_MS,
        "ms",
    )
    yield at_least(
        f"predicted of {PREDICTED_STAGES} GPUs with {CHUNKS} chunks: at least {MIN_PREDICTED} x as"
        " fast as nn.GRU in a graph on one",
        _predicted_speedup(numbers, nn_graph),
        MIN_PREDICTED,
    )


def _predicted_speedup(numbers: Sequence[GPUNumbers], nn_graph: Case) -> float | None:
    alone = replace(nn_graph, way=Way.STAGE, n_stages=PREDICTED_STAGES, n_chunks=CHUNKS)
    whole = Found(numbers).reading(nn_graph)
    steps_ms = {own.case: own.step_ms for own in predictions(numbers)}
    return None if whole is None or alone not in steps_ms else whole.step_ms / steps_ms[alone]


def _never_slower(numbers: Sequence[GPUNumbers]) -> Iterator[Verdict]:
    """One verdict over all shapes; the one that does worst decides."""
    found = Found(numbers)
    defaults = [own.case for own in numbers if own.case.way is Way.NN_GRU]
    ratios = [
        (ratio, case)
        for case in defaults
        if (ratio := found.ratio(replace(case, way=Way.GRAPHS), case)) is not None
    ]
    if not ratios:
        return
    worst, case = max(ratios, key=lambda pair: pair[0])
    yield Verdict(
        case.shape,
        f"{case.precision}: of the {len(ratios)} shapes measured of {len(defaults)}, the worst: one"
        f" stage, uncut, in graphs, takes at most {MAX_AGAINST_NN_GRU} x what nn.GRU does",
        _words(worst, "x"),
        worst <= MAX_AGAINST_NN_GRU,
    )


def _words(measured: float | None, unit: str) -> str:
    return "not measured" if measured is None else f"{measured:.2f} {unit}"
