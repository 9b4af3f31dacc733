"""Options: what a search may choose from, setting by setting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
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
class Branch:
    """Settings that differ in the number of stages alone: with every number in a range.

    Attributes:
        fewest: the setting with the fewest stages.
        most: the one with the most.
    """

    fewest: Setting
    most: Setting

    @classmethod
    def of(cls, setting: Setting) -> Branch:
        """Return the branch of one setting alone."""
        return cls(setting, setting)

    def __len__(self) -> int:
        return self.most.n_stages - self.fewest.n_stages + 1

    def halves(self) -> tuple[Branch, Branch]:
        """Divide a branch of several settings in two."""
        middle = (self.fewest.n_stages + self.most.n_stages) // 2
        few, many = (replace(self.fewest, n_stages=number) for number in (middle, middle + 1))
        return Branch(self.fewest, few), Branch(many, self.most)


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

    def branches(self, n_devices: int, n_blocks: int) -> Iterator[Branch]:
        """Yield all settings for so many devices, in branches, the simple ones first."""
        grids = [
            Grid(self.layers_per_block, schedule, n_micro_batches, n_chunks, self.truncate, again)
            for again, n_micro_batches, n_chunks, schedule in product(
                self.recompute, self.n_micro_batches, self.n_chunks, self.schedules
            )
        ]
        for width in self._widths(n_devices, n_blocks):
            counts = self._stage_counts(n_devices // width, n_blocks)
            if not counts:
                continue
            for core, grid in product(self.cores, grids):
                yield Branch(
                    *(Setting(count, width, core, grid) for count in (counts[0], counts[-1]))
                )

    def allow(self, setting: Setting, n_devices: int, n_blocks: int) -> bool:
        """Whether a setting is one of those in `branches`."""
        width, grid = setting.data_parallel, setting.grid
        chosen = grid.schedule, grid.n_micro_batches, grid.n_chunks, grid.recompute, setting.core
        choices = self.schedules, self.n_micro_batches, self.n_chunks, self.recompute, self.cores
        return (
            width in self._widths(n_devices, n_blocks)
            and setting.n_stages in self._stage_counts(n_devices // width, n_blocks)
            and all(one in some for one, some in zip(chosen, choices, strict=True))
            and (grid.layers_per_block, grid.truncate) == (self.layers_per_block, self.truncate)
        )

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
