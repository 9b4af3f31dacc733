"""The least that a step can take with the settings of a branch, wherever the blocks are cut.

Every bound holds for all cuts; with one setting, one micro-batch, layers alike and stages of equal
size it is what the step takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gru_parallel.planning.cell_costs import CellTimes
from gru_parallel.planning.crossings import Crossing
from gru_parallel.planning.options import Branch
from gru_parallel.planning.stage_times import BlockTimes


@dataclass(frozen=True)
class Work:
    """One kind of work of all blocks, in ms.

    Attributes:
        total: of all blocks.
        least: of a block.
        most: of a block.
        around: what a stage takes besides.
    """

    total: float
    least: float
    most: float
    around: float

    @classmethod
    def of(
        cls,
        parts: Sequence[tuple[CellTimes, int]],
        around: CellTimes,
        kind: Callable[[CellTimes], float],
    ) -> Work:
        """Add up blocks, each with how many like it there are."""
        each = [(kind(times), count) for times, count in parts]
        of_one = [ms for ms, _ in each]
        total = sum(ms * count for ms, count in each)
        return cls(total, min(of_one), max(of_one), kind(around))

    def slowest(self, n_blocks: int, slowness: Sequence[float], fewest: int) -> float:
        """The least that the slowest stage can take.

        Args:
            n_blocks: of all stages.
            slowness: of each stage's device, the fastest first, how many times as long it takes as
                the fastest of all.
            fewest: stages that there may be; all have been counted in `slowness`.
        """
        n_stages = len(slowness)
        if slowness[-1] > 1:
            # Each takes its share by its speed, and the slowest at least one block.
            shared = self.total / sum(1 / slow for slow in slowness)
            return max(shared, self.least * slowness[fewest - 1]) + self.around
        # Some stage has at least as many blocks as the mean, rounded up.
        n_of_one = -(-n_blocks // n_stages)
        return max(self.total / n_stages, n_of_one * self.least, self.most) + self.around

    def all(self, n_stages: int) -> float:
        """What all stages take together."""
        return self.total + n_stages * self.around


@dataclass(frozen=True)
class Works:
    """What the blocks of a model take, as far as bounds ask for it.

    Attributes:
        n_blocks: of the model.
        forward: F of a cell.
        backward: B of a cell, with W where that is a part of it.
        later: B and W of a cell.
        everything: all of a cell.
        ramp: the least share of a cell's work that the next stage has to wait for.
        held: all of a micro-batch, where a block is a barrier in time; None where none is.
        fastest: what each run of blocks takes on the fastest of the devices.
    """

    n_blocks: int
    forward: Work
    backward: Work
    later: Work
    everything: Work
    ramp: float
    held: Work | None
    fastest: Sequence[tuple[BlockTimes, int]]

    @classmethod
    def of(
        cls,
        runs: Sequence[tuple[BlockTimes, int]],
        around: CellTimes,
        n_chunks: int,
        *,
        separates_weights: bool,
        again: bool,
    ) -> Works:
        """Add up blocks.

        Args:
            runs: what a block takes on the fastest of the devices, and how many like it there are.
            around: what a stage takes for each cell besides.
            n_chunks: of a window.
            separates_weights: whether the schedule has a W.
            again: whether B runs F again.
        """

        def forward(times: CellTimes) -> float:
            return times.forward_ms

        def backward(times: CellTimes) -> float:
            own = times.backward_ms if separates_weights else times.joint_ms
            return own + (times.forward_ms if again else 0.0)

        def later(times: CellTimes) -> float:
            return backward(times) + (times.weights_ms if separates_weights else 0.0)

        def everything(times: CellTimes) -> float:
            return forward(times) + later(times)

        cells = [(block.cell, count) for block, count in runs]
        held = None
        if any(block.is_barrier for block, _ in runs):
            wholes = [
                ((b.whole if b.is_barrier else b.cell.times(n_chunks)).plus(b.last), count)
                for b, count in runs
            ]
            held = Work.of(wholes, CellTimes(), everything)
        ramp = 1.0
        if separates_weights:
            # The W of the stages before may come at the end.
            parts = [(forward(t), everything(t)) for t in (around, *(cell for cell, _ in cells))]
            ramp = min((part / whole for part, whole in parts if whole > 0), default=1.0)
        return cls(
            sum(count for _, count in runs),
            Work.of(cells, around, forward),
            Work.of(cells, around, backward),
            Work.of(cells, around, later),
            Work.of(cells, around, everything),
            ramp,
            held,
            runs,
        )


def least_ms(branch: Branch, works: Works, slowness: Sequence[float], crossing: Crossing) -> float:
    """Return a bound from below of the time of the pipeline, whatever the cut.

    More stages leave less to each of them, but a cell takes longer from the first to the last. So
    of several numbers of stages, the most count for the one and the fewest for the other.

    Args:
        branch: numbers of stages, and the grid.
        works: what blocks take on the fastest of the devices, on cells of the branch's size.
        slowness: of as many devices as there are stages at the most, the fastest ones, see
            `Work.slowest`.
        crossing: what a cell takes at the least from the first stage to the last, all links
            together, and how long it occupies the slowest of them.
    """
    grid, fewest = branch.fewest.grid, branch.fewest.n_stages
    n_cells = grid.n_micro_batches * grid.n_chunks
    in_turn = grid.n_micro_batches == 1 and grid.truncate is None

    def slowest(work: Work) -> float:
        return work.slowest(works.n_blocks, slowness, fewest)

    # Cells cross the slowest link one after another; where no B begins before all F, twice.
    crossed_ms = (n_cells - 1) * crossing.link_ms
    between_ms = 2 * crossing.ms + (2 if in_turn else 1) * crossed_ms
    if works.held is not None:
        return max(grid.n_micro_batches * slowest(works.held), between_ms)
    # The last cell to cross is worked on before and after, by all stages.
    bounds = [n_cells * slowest(works.everything)]
    bounds.append(works.forward.all(fewest) + works.backward.all(fewest) + between_ms)
    # A stage begins when those before it have done F of one cell, and its last B is followed by
    # theirs, without their W: so a share of their work is added to its own, n times. Least if each
    # stage is shorter than the one before by as much as that adds.
    taken = 1 - (1 - works.ramp / n_cells) ** branch.most.n_stages
    if taken > 0:
        bounds.append(works.ramp * works.everything.all(fewest) / taken)
    if in_turn:
        ramp_ms = works.forward.all(fewest) + crossing.ms
        ramp_ms += max((n_cells - 1) * slowest(works.forward), crossed_ms)
        back_ms = works.backward.all(fewest) + crossing.ms
        back_ms += max((n_cells - 1) * slowest(works.backward), crossed_ms)
        bounds.append(ramp_ms + back_ms)
        bounds.append(ramp_ms + n_cells * slowest(works.later))
    return max(bounds)
