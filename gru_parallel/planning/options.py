"""Options: what a search may choose from, setting by setting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from gru_parallel.placement.grid import Grid
from gru_parallel.placement.plan import StagePlan
from gru_parallel.planning.default_chunks import CPU_CHUNKS


@dataclass(frozen=True)
class Setting:
    """All that a plan consists of but which block is where.

    Attributes:
        n_stages: of a replica.
        data_parallel: the number of replicas.
        core: how layers compute a chunk.
        grid: how a batch is cut, and in which order its cells run.
    """

    n_stages: int
    data_parallel: int
    core: str
    grid: Grid


@dataclass(frozen=True)
class Options:
    """What a search may choose from; one entry where a setting is fixed.

    Attributes:
        layers_per_block: layers of each block.
        schedules: names of schedules.
        n_micro_batches: slices of the batch of a replica.
        n_chunks: slices of time.
        recompute: what B may run again.
        cores: how layers may compute a chunk.
        data_parallel: numbers of replicas.
        truncate: chunks after which back-propagation is cut; None for nowhere.
        stages: the stages, where a device map says them; None where the search may cut.
        uses_all: whether every device has to be used, as by ranks.
    """

    layers_per_block: int
    schedules: tuple[str, ...]
    n_micro_batches: tuple[int, ...]
    n_chunks: tuple[int, ...]
    recompute: tuple[str, ...] = ("none",)
    cores: tuple[str, ...] = ("auto",)
    data_parallel: tuple[int, ...] = (1,)
    truncate: int | None = None
    stages: tuple[StagePlan, ...] | None = None
    uses_all: bool = False

    def settings(self, n_devices: int, n_blocks: int) -> Iterator[Setting]:
        """List all settings for so many devices, the simple ones first."""
        grids = [
            Grid(self.layers_per_block, schedule, n_micro_batches, n_chunks, self.truncate, again)
            for again, n_micro_batches, n_chunks, schedule in product(
                self.recompute, self.n_micro_batches, self.n_chunks, self.schedules
            )
        ]
        for width in self._widths(n_devices, n_blocks):
            for n_stages in self._stage_counts(n_devices // width, n_blocks):
                for core, grid in product(self.cores, grids):
                    yield Setting(n_stages, width, core, grid)

    def _widths(self, n_devices: int, n_blocks: int) -> tuple[int, ...]:
        """Numbers of replicas; where every device has to be used, those that leave none over."""
        used = tuple(width for width in self.data_parallel if n_devices // width <= n_blocks)
        return (used or self.data_parallel) if self.uses_all else self.data_parallel

    def _stage_counts(self, n_devices: int, n_blocks: int) -> range:
        if self.stages is not None:
            return range(len(self.stages), len(self.stages) + 1)
        most = min(n_devices, n_blocks)
        return range(most if self.uses_all else 1, most + 1)


def micro_batches_up_to(n_rows: int) -> tuple[int, ...]:
    """Numbers of micro-batches worth a try: powers of two, each of them of at least one row."""
    return tuple(2**power for power in range(n_rows.bit_length()) if 2**power <= n_rows)


def chunks_up_to(n_steps: int, truncate: int | None = None) -> tuple[int, ...]:
    """Numbers of chunks worth a try: 1, 2, 3, 4, 6, 8, 12, ..., each of at least one step.

    With truncation there is one, because what is cut off depends on it.
    """
    if truncate is not None:
        return (min(CPU_CHUNKS, n_steps),)
    powers = [2**power for power in range(n_steps.bit_length())]
    tried = sorted({*powers, *(3 * power for power in powers)})
    return tuple(number for number in tried if number <= n_steps)
