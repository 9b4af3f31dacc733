"""What is measured on GPUs: each way of running a training step, at each shape and number type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.shapes import Shape
from gru_parallel.placement import Grid, Plan, StagePlan, partition

SCHEDULE = "gpipe"
"""With one micro-batch every schedule gives the same order."""


class Precision(StrEnum):
    """The numbers that are computed with."""

    TF32 = "float32 (TF32)"
    BFLOAT16 = "bfloat16"
    MIXED = "bf16-mixed"

    @property
    def of_nn_gru(self) -> Precision:
        """What nn.GRU is compared in: under autocast it computes in float16 on CUDA."""
        return Precision.TF32 if self is Precision.TF32 else Precision.BFLOAT16

    @property
    def n_bytes(self) -> int:
        """Size of a number that crosses from stage to stage."""
        return 4 if self is Precision.TF32 else 2


class Way(StrEnum):
    """How a training step is run; the value is how tables call it."""

    NN_GRU = "nn.GRU"
    NN_GRAPH = "nn.GRU in a graph"
    GRAPHS = "in graphs"
    EAGER = "without graphs"
    PEER = "torch pipelining"
    STAGE = "one stage alone, in graphs"
    LAUNCHES = "launches, in graphs"


@dataclass(frozen=True)
class Case:
    """One row of a table.

    Attributes:
        way: how a step is run.
        shape: the size of the step; its layers are those of all stages.
        precision: the numbers.
        n_stages: of the pipeline; of `Way.STAGE`, of which one is measured.
        n_chunks: slices of time.
        n_micro_batches: slices of the batch, for the peer.
        n_gpus: GPUs that the stages are on, in order; one for all of them, or one each.
    """

    way: Way
    shape: Shape
    precision: Precision
    n_stages: int = 1
    n_chunks: int = 1
    n_micro_batches: int = 1
    n_gpus: int = 1

    @property
    def name(self) -> str:
        """How tables call it, below a title that has shape and numbers."""
        match self.way:
            case Way.NN_GRU | Way.NN_GRAPH:
                return str(self.way)
            case Way.PEER:
                return f"{self.way} S={self.n_stages} M={self.n_micro_batches}{self._where}"
            case _:
                mixed = f", {self.precision}" if self.precision is Precision.MIXED else ""
                return f"S={self.n_stages} C={self.n_chunks}{self._where}, {self.way}{mixed}"

    @property
    def _where(self) -> str:
        if self.n_gpus > 1:
            return f" on {self.n_gpus} GPUs"
        return " on one GPU" if self.n_stages > 1 and self.way is not Way.STAGE else ""

    @property
    def fits(self) -> bool:
        """Whether the shape has a layer for each stage and a step for each chunk."""
        return (
            self.n_stages <= self.shape.num_layers
            and self.n_chunks <= self.shape.n_steps
            and self.shape.batch_size % self.n_micro_batches == 0
        )

    def plan(self, devices: Sequence[str]) -> Plan:
        """Return the plan of the pipeline: one layer per block, as even stages as there can be.

        Args:
            devices: names of `n_gpus` devices.
        """
        layers = self.shape.num_layers
        sizes = partition([1.0] * layers, self.n_stages)
        stages = tuple(
            StagePlan(devices[index * len(devices) // self.n_stages], sum(sizes[:index]), size)
            for index, size in enumerate(sizes)
        )
        return Plan(layers, Grid(1, SCHEDULE, self.n_micro_batches, self.n_chunks), stages)


@dataclass(frozen=True)
class Sweep:
    """Which cases are measured.

    Attributes:
        targets: shapes that targets are set for, the most important first.
        widths: the same with other hidden sizes, the most important first.
        shallow: shapes with fewer layers.
        long: shapes with more time steps, the most important first.
        chunks: numbers of chunks, ascending; the second is what predictions and several GPUs use.
        stages: numbers of stages, on one GPU and on several.
        n_micro_batches: of the peer.
    """

    targets: tuple[Shape, ...]
    widths: tuple[Shape, ...]
    shallow: tuple[Shape, ...]
    long: tuple[Shape, ...]
    chunks: tuple[int, ...] = (8, 16, 32)
    stages: tuple[int, ...] = (4, 2, 8)
    n_micro_batches: tuple[int, ...] = (2, 4, 8)

    @property
    def many_chunks(self) -> int:
        """Chunks of what is predicted, and of pipelines over several GPUs."""
        return self.chunks[1]


def _shapes(hidden_sizes: Sequence[int], n_steps: int, num_layers: int) -> tuple[Shape, ...]:
    return tuple(Shape(hidden, 64, n_steps, num_layers) for hidden in hidden_sizes)


EVERY_WIDTH = (256, 512, 128, 1024, 2048)

FULL = Sweep(
    targets=_shapes((256, 512), 512, 8),
    widths=_shapes((128, 1024, 2048), 512, 8),
    shallow=_shapes(EVERY_WIDTH, 512, 4),
    long=(*_shapes(EVERY_WIDTH, 4096, 8), *_shapes(EVERY_WIDTH, 4096, 4)),
)

QUICK = Sweep(
    targets=(Shape(hidden_size=4, batch_size=4, n_steps=8, num_layers=2),),
    widths=(),
    shallow=(),
    long=(),
    chunks=(2, 4),
    stages=(2,),
    n_micro_batches=(2, 4),
)

MAIN = (Precision.TF32, Precision.BFLOAT16)


def cases(sweep: Sweep, n_gpus: int) -> tuple[Case, ...]:
    """List what is measured, the most important first; each case once.

    Args:
        sweep: shapes and cuts.
        n_gpus: how many there are.
    """
    listed = [
        *_of_targets(sweep),
        *_on_several(sweep, n_gpus),
        *_of_default(sweep.widths),
        *_of_default(sweep.long[:1]),
        *_further_cuts(sweep),
        *_of_default(sweep.shallow),
        *_of_default(sweep.long),
        *_many_chunks(sweep),
    ]
    return tuple(case for case in dict.fromkeys(listed) if case.fits)


def _of_targets(sweep: Sweep) -> list[Case]:
    """What the targets of one GPU need."""
    found = _of_default(sweep.targets)
    for shape in sweep.targets:
        for numbers in MAIN:
            found += [Case(Way.GRAPHS, shape, numbers, 1, c) for c in sweep.chunks[:2]]
            found.append(Case(Way.STAGE, shape, numbers, sweep.stages[0], sweep.many_chunks))
    first, chunks = sweep.targets[0], sweep.many_chunks
    for n_stages in (1, sweep.stages[0]):
        found.append(Case(Way.LAUNCHES, first, Precision.TF32, n_stages, chunks))
    return found


def _of_default(shapes: Sequence[Shape]) -> list[Case]:
    """nn.GRU, and what `placement=auto` makes of one GPU: one stage, uncut, in a graph."""
    ways = (Way.NN_GRU, Way.NN_GRAPH, Way.GRAPHS)
    return [Case(way, shape, numbers) for shape in shapes for numbers in MAIN for way in ways]


def _on_several(sweep: Sweep, n_gpus: int) -> list[Case]:
    """A GPU for each stage, and the peer beside it."""
    cuts = [
        (shape, numbers, s)
        for shape in sweep.targets
        for numbers in MAIN
        for s in sweep.stages
        if s <= n_gpus
    ]
    ours = [
        Case(way, *cut, n_chunks, n_gpus=cut[2])
        for cut in cuts
        for way, chunks in ((Way.GRAPHS, sweep.chunks), (Way.EAGER, (sweep.many_chunks,)))
        for n_chunks in chunks
    ]
    # After one another, and by number of ranks, because each number needs processes of its own.
    peers = [
        Case(Way.PEER, *cut, n_micro_batches=m, n_gpus=cut[2])
        for cut in sorted(cuts, key=lambda cut: cut[2])
        for m in sweep.n_micro_batches
    ]
    return [*ours, *peers]


def _further_cuts(sweep: Sweep) -> list[Case]:
    """Without graphs, more chunks, and several stages on one GPU, which is not what it is for."""
    found = []
    for shape in sweep.targets:
        for numbers in MAIN:
            found += [Case(Way.GRAPHS, shape, numbers, 1, c) for c in sweep.chunks[2:]]
            found += [Case(Way.EAGER, shape, numbers, 1, c) for c in (1, *sweep.chunks[:2])]
            for s in (s for s in sweep.stages if s <= 4):
                cut = (shape, numbers, s, sweep.many_chunks)
                found += [Case(way, *cut) for way in (Way.GRAPHS, Way.EAGER)]
            others = sweep.stages[1:]
            found += [Case(Way.STAGE, shape, numbers, s, sweep.many_chunks) for s in others]
        found += [Case(Way.GRAPHS, shape, Precision.MIXED, 1, c) for c in (1, *sweep.chunks[:2])]
    return found


def _many_chunks(sweep: Sweep) -> list[Case]:
    """Chunks in graphs at every shape."""
    shapes = (*sweep.widths, *sweep.shallow, *sweep.long)
    return [
        Case(Way.GRAPHS, shape, numbers, 1, c)
        for shape in shapes
        for numbers in MAIN
        for c in sweep.chunks
    ]
