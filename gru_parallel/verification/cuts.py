"""Every way to cut one `nn.GRU`, and how far each is from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from gru_parallel.choices import AUTO, CORES
from gru_parallel.dropin.gru import GRU
from gru_parallel.placement import spread
from gru_parallel.schedule import SCHEDULES, build_schedule
from gru_parallel.verification.devices import device_pools
from gru_parallel.verification.difference import Differences, compare
from gru_parallel.verification.sequences import draw_gru, draw_sequences, run
from gru_parallel.verification.settings import Settings

GRIDS = ((1, 1), (1, 4), (2, 5))
"""Micro-batches and chunks: uncut, the usual cut, and one with ragged pieces."""


@dataclass(frozen=True)
class Kind:
    """What is cut.

    Attributes:
        bidirectional: whether the layers run in both directions of time.
        lengths: time steps of each sequence; None if all are whole.
    """

    bidirectional: bool
    lengths: tuple[int, ...] | None


@dataclass(frozen=True)
class Placement:
    """Blocks and their devices.

    Attributes:
        layers_per_block: layers per block; the last block may have fewer.
        device_map: the device of each block; None runs them in the caller's thread.
    """

    layers_per_block: int
    device_map: tuple[str, ...] | None


@dataclass(frozen=True)
class Cut:
    """One way to cut, and how far it is from one `nn.GRU`.

    Attributes:
        kind: what is cut.
        placement: its blocks and their devices.
        schedule: the order of the pieces.
        n_micro_batches: slices of the batch.
        n_chunks: slices of time.
        core: how its layers compute a chunk.
        differences: from one `nn.GRU`.
    """

    kind: Kind
    placement: Placement
    schedule: str
    n_micro_batches: int
    n_chunks: int
    core: str
    differences: Differences

    def is_kept(self, tolerance: float) -> bool:
        """Whether the cut has the results of one `nn.GRU`."""
        return self.differences.largest <= tolerance


def measure_cuts(settings: Settings) -> Iterator[Cut]:
    """Compare every way to cut with one `nn.GRU` of the same weights."""
    for kind in kinds(settings):
        whole = draw_gru(settings, bidirectional=kind.bidirectional)
        sequences = draw_sequences(settings, bidirectional=kind.bidirectional, lengths=kind.lengths)
        expected = run(whole, sequences)
        for placement, schedule, grid in product(
            placements(settings, bidirectional=kind.bidirectional), SCHEDULES, GRIDS
        ):
            (n_micro_batches, n_chunks), core = grid, core_in_turn(schedule, grid)
            cut = GRU.from_torch(
                whole,
                blocks=placement.layers_per_block,
                device_map=placement.device_map,
                schedule=schedule,
                n_micro_batches=n_micro_batches,
                n_chunks=n_chunks,
                core=core,
            )
            found = compare(run(cut, sequences), expected)
            yield Cut(kind, placement, schedule, n_micro_batches, n_chunks, core, found)


def core_in_turn(schedule: str, grid: tuple[int, int]) -> str:
    """Return the core of a cut: each has every grid, and every schedule that it goes with."""
    # Last come schedules that separate W, which torch's core does not.
    schedules = sorted(SCHEDULES, key=_separates_w)
    cores = [each for each in CORES if each != AUTO]
    if _separates_w(schedule):
        cores.remove("native")
    return cores[(schedules.index(schedule) + GRIDS.index(grid)) % len(cores)]


def _separates_w(schedule: str) -> bool:
    return build_schedule(schedule, 1, 1, 1).separates_weights


def kinds(settings: Settings) -> list[Kind]:
    """Return what is to be cut: one direction and both, whole sequences and unequal ones."""
    rows = settings.lengths_of_rows
    lengths = [None] if len(set(rows)) == 1 else [None, rows]
    return [Kind(bidirectional, some) for bidirectional in (False, True) for some in lengths]


def placements(settings: Settings, *, bidirectional: bool) -> Iterator[Placement]:
    """Cut the layers into blocks of 1, 2, ... and place these on no device, on two, and on many."""
    for layers_per_block in range(1, settings.num_layers + 1):
        n_blocks = -(-settings.num_layers // layers_per_block)
        yield Placement(layers_per_block, None)
        for pool in device_pools(settings):
            for n_stages in sorted({min(2, n_blocks, len(pool)), min(n_blocks, len(pool))}):
                yield Placement(layers_per_block, spread(pool[:n_stages], n_blocks))
            if bidirectional and len(pool) >= 2:
                yield Placement(layers_per_block, ("+".join(pool[:2]),) * n_blocks)
