"""How long each action of a stage takes, put together from what its blocks take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from typing import TypeVar

from gru_parallel.choices import core_on
from gru_parallel.placement.cluster import Device
from gru_parallel.placement.grid import Grid
from gru_parallel.placement.model_spec import BlockSpec, ModelSpec
from gru_parallel.planning.cell_costs import (
    CellTimes,
    CostModel,
    LayerKind,
    LinearKind,
    Workload,
)
from gru_parallel.planning.runs import Runs
from gru_parallel.schedule.action import Action, Op

T = TypeVar("T")

NOTHING = CellTimes()


@dataclass(frozen=True)
class BlockTimes:
    """What a block takes of a micro-batch, encoder and head counted with their block.

    Attributes:
        cell: on each cell.
        whole: on all cells together, where a barrier has them run at once.
        last: on the last cell, besides.
        is_barrier: whether the block needs the whole window before it can begin.
    """

    cell: CellTimes
    whole: CellTimes
    last: CellTimes
    is_barrier: bool


@dataclass(frozen=True)
class StageTimes:
    """What a stage takes of a micro-batch.

    Attributes:
        cell: on each cell.
        at_once: with the action that a barrier has held back: the F of the last chunk, the B and
            the W of the first.
        last: on the last chunk, besides.
    """

    cell: CellTimes
    at_once: CellTimes = NOTHING
    last: CellTimes = NOTHING

    def ms(self, action: Action, grid: Grid, *, separates_weights: bool) -> float:
        """Return how long an action takes.

        Args:
            action: an F, B or W of the stage.
            grid: how a batch is cut, and whether B runs F again.
            separates_weights: whether the schedule has a W.
        """
        is_first, is_last = action.chunk == 0, action.chunk == grid.n_chunks - 1
        held = is_last if action.op is Op.F else is_first
        parts = [self.cell, *([self.at_once] if held else []), *([self.last] if is_last else [])]
        ms = sum(_of(part, action.op, separates_weights) for part in parts)
        if grid.recomputes and action.op is Op.B:
            ms += sum(part.forward_ms for part in parts)
        return ms

    def slower(self, factor: float) -> StageTimes:
        """Return what it takes if all takes so many times as long."""
        if factor == 1.0:
            return self
        return StageTimes(*(part.times(factor) for part in (self.cell, self.at_once, self.last)))

    def cells_ms(self, grid: Grid, *, separates_weights: bool) -> tuple[float, float, float]:
        """Return what all F, all B and all W of a batch take."""
        each = (self.cell.times(grid.n_chunks), self.at_once, self.last)
        whole = reduce(CellTimes.plus, each).times(grid.n_micro_batches)
        again = whole.forward_ms if grid.recomputes else 0.0
        if separates_weights:
            return whole.forward_ms, whole.backward_ms + again, whole.weights_ms
        return whole.forward_ms, whole.joint_ms + again, 0.0


def _of(times: CellTimes, op: Op, separates_weights: bool) -> float:
    if op is Op.F:
        return times.forward_ms
    if op is Op.W:
        return times.weights_ms
    return times.backward_ms if separates_weights else times.joint_ms


def stage_of(blocks: Sequence[BlockTimes], around: CellTimes = NOTHING) -> StageTimes:
    """Join consecutive blocks into a stage.

    Args:
        blocks: of the stage, in order.
        around: what the stage takes for each cell besides.
    """
    last = reduce(CellTimes.plus, (block.last for block in blocks))
    barriers = [index for index, block in enumerate(blocks) if block.is_barrier]
    if not barriers:
        return StageTimes(reduce(CellTimes.plus, (b.cell for b in blocks), around), last=last)
    # F waits at the first barrier with all that comes after it; B at the last, with all before.
    free_f, free_b = blocks[: barriers[0]], blocks[barriers[-1] + 1 :]
    held_f, held_b = blocks[barriers[0] :], blocks[: barriers[-1] + 1]
    return StageTimes(
        _joined([b.cell for b in free_f], [b.cell for b in free_b]).plus(around),
        _joined([b.whole for b in held_f], [b.whole for b in held_b]),
        last,
    )


def _joined(forward: Sequence[CellTimes], backward: Sequence[CellTimes]) -> CellTimes:
    """Add up F of some parts, and B and W of others."""
    f, b = (reduce(CellTimes.plus, parts, NOTHING) for parts in (forward, backward))
    return b._replace(forward_ms=f.forward_ms)


@dataclass(frozen=True)
class CellSize:
    """How large a cell is, and how many of them make a window.

    Attributes:
        rows: of a micro-batch, in the mean.
        steps: of a chunk, in the mean.
        n_chunks: chunks of a window.
    """

    rows: float
    steps: float
    n_chunks: int

    @classmethod
    def of(cls, workload: Workload, n_micro_batches: int, n_chunks: int, width: int) -> CellSize:
        """Cut the batch of one of `width` replicas, the one with the most rows."""
        rows = -(-workload.n_rows // width)
        # A batch smaller than the number of micro-batches gets one for each row.
        n_parts = min(n_micro_batches, rows)
        return cls(rows / n_parts, workload.n_steps / n_chunks, n_chunks)


Run = tuple[BlockSpec, int]
"""A block, and how many like it follow one another; encoder and head make their block a run."""


@lru_cache(maxsize=8)  # Every plan of a search asks for those of the same model.
def block_runs(model: ModelSpec) -> tuple[Run, ...]:
    """Group the blocks of a model: what blocks alike take has to be worked out once."""
    runs: list[Run] = []
    last = len(model.blocks) - 1
    for index, block in enumerate(model.blocks):
        is_end = index in (0, last) or index - 1 == 0
        if runs and not is_end and _form(runs[-1][0]) == _form(block):
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        else:
            runs.append((block, 1))
    return tuple(runs)


@lru_cache(maxsize=8)
def runs_of_blocks(model: ModelSpec) -> Runs:
    """Return the runs of `block_runs`, to look up which of them a part of the model has."""
    return Runs(each_block([(run, n) for run, (_, n) in enumerate(block_runs(model))]))


def _form(block: BlockSpec) -> tuple[object, ...]:
    return len(block.layers), block.input_size, block.bidirectional, block.h_0 == "previous"


def run_times(
    runs: Sequence[Run],
    model: ModelSpec,
    core: str,
    costs: CostModel,
    device: Device,
    size: CellSize,
    n_busy: float,
) -> list[tuple[BlockTimes, int]]:
    """Say what each run of blocks would take on a device, one of its blocks, and their number.

    Args:
        runs: of the model, see `block_runs`.
        model: what is run.
        core: how layers compute, one of `CORES`.
        costs: of parts.
        device: that all blocks are put on, to see what each takes there.
        size: of the cells.
        n_busy: stages that compute at the same time on the device's machine.
    """
    times = [_block(block, model, core, costs, device, size, n_busy) for block, _ in runs]
    encoder, head = encoder_of(model), head_of(model)
    if encoder is not None:
        taken = costs.linear(encoder, device, size.rows, size.steps, n_busy)
        times[0] = _with(times[0], taken, size.n_chunks)
        if model.n_decoding > 0:
            taken = costs.linear(encoder, device, size.rows, model.n_decoding, n_busy)
            times[0] = _with_last(times[0], taken)
    if head is not None:
        n_read = size.rows * max(1, model.n_decoding)
        taken = costs.linear(head, device, n_read, size.steps, n_busy)
        if head.every_step:
            times[-1] = _with(times[-1], taken, size.n_chunks)
        else:
            times[-1] = _with_last(times[-1], taken)
    return [(each, count) for each, (_, count) in zip(times, runs, strict=True)]


def each_block(runs: Sequence[tuple[T, int]]) -> list[T]:
    """List for each block what is said of its run."""
    return [of_run for of_run, count in runs for _ in range(count)]


def block_times(
    model: ModelSpec, core: str, costs: CostModel, device: Device, size: CellSize, n_busy: float
) -> list[BlockTimes]:
    """Say what each block of a model would take on a device; see `run_times`."""
    return each_block(run_times(block_runs(model), model, core, costs, device, size, n_busy))


def both_at_once(own: BlockTimes, other: BlockTimes) -> BlockTimes:
    """Halve a block whose directions have a device each: it takes as long as the slower half."""
    slower = CellTimes(*map(max, own.whole, other.whole))
    return replace(own, whole=slower.times(1 / 2))


def layer_kinds(model: ModelSpec, core: str) -> list[LayerKind]:
    """Return what the time of each layer depends on, with a core other than "auto"."""
    return [kind for block in model.blocks for kind in _kinds_of(block, model, core)]


def _kinds_of(block: BlockSpec, model: ModelSpec, core: str) -> list[LayerKind]:
    widths = [block.input_size, *[block.output_size] * (len(block.layers) - 1)]
    size, both = block.hidden_size, block.bidirectional
    between = model.has_dropout, model.has_residual, model.has_norm
    return [LayerKind(width, size, both, core, *between) for width in widths]


def encoder_of(model: ModelSpec) -> LinearKind | None:
    """Return what the time of the encoder depends on; None where there is none."""
    if model.n_channels is None:
        return None
    return LinearKind(model.n_channels, model.blocks[0].input_size, True, False)


def head_of(model: ModelSpec) -> LinearKind | None:
    """Return what the time of the head depends on; None where there is none."""
    if model.n_outputs is None:
        return None
    return LinearKind(model.blocks[-1].output_size, model.n_outputs, model.every_step, True)


def _block(
    block: BlockSpec,
    model: ModelSpec,
    core: str,
    costs: CostModel,
    device: Device,
    size: CellSize,
    n_busy: float,
) -> BlockTimes:
    steps = size.steps * size.n_chunks if block.bidirectional else size.steps
    taken, after = NOTHING, NOTHING
    for kind in _kinds_of(block, model, core_on(device.name, core)):
        taken = taken.plus(costs.layer(kind, device, size.rows, steps, n_busy))
        if model.n_decoding > 0:
            # The steps after the window run as rows of one step.
            n_rows = size.rows * model.n_decoding
            after = after.plus(costs.layer(kind, device, n_rows, 1, n_busy))
    if block.bidirectional:
        return BlockTimes(taken, taken, NOTHING, True)
    return BlockTimes(taken, taken.times(size.n_chunks), after, block.h_0 == "previous")


def _with(block: BlockTimes, part: CellTimes, n_chunks: int) -> BlockTimes:
    """Add a part that runs on each cell; where a barrier holds cells back, on all at once."""
    return BlockTimes(
        block.cell.plus(part), block.whole.plus(part.times(n_chunks)), block.last, block.is_barrier
    )


def _with_last(block: BlockTimes, part: CellTimes) -> BlockTimes:
    """Add a part that runs on the last cell of a micro-batch alone."""
    return replace(block, last=block.last.plus(part))
