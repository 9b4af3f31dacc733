"""What blocks take with a setting on each kind of device, worked out once for many settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from gru_parallel.placement.cluster import Cluster, Device
from gru_parallel.planning.bounds import Works
from gru_parallel.planning.cell_costs import CellTimes, CostModel, Workload
from gru_parallel.planning.crossings import (
    Crossing,
    Route,
    cell_bytes,
    exchange_ms,
    replicas_of,
    routes,
)
from gru_parallel.planning.options import Branch, Options, Setting
from gru_parallel.planning.processors import busy_stages
from gru_parallel.planning.stage_times import (
    BlockTimes,
    CellSize,
    Run,
    block_runs,
    both_at_once,
    run_times,
)
from gru_parallel.schedule.registry import build_schedule


@dataclass(frozen=True)
class SettingCosts:
    """What blocks take with each setting of a problem.

    Attributes:
        workload: what is trained.
        cluster: the devices that may be used, those of all replicas.
        costs: how long parts take.
        options: what may be chosen.
    """

    workload: Workload
    cluster: Cluster
    costs: CostModel
    options: Options

    def devices(self, setting: Setting) -> Sequence[Device]:
        """The devices that a replica may use."""
        if self.options.stages is not None:
            return [self.cluster.device(name) for s in self.options.stages for name in s.devices]
        return self.cluster.devices[: len(self.cluster.devices) // setting.data_parallel]

    def by_kind(self, setting: Setting) -> list[list[Device]]:
        """Group them by their kind, in the order of the cluster."""
        if setting.data_parallel not in self._kinds_known:
            groups: dict[str, list[Device]] = {}
            for device in self.devices(setting):
                groups.setdefault(device.kind, []).append(device)
            self._kinds_known[setting.data_parallel] = list(groups.values())
        return self._kinds_known[setting.data_parallel]

    def is_in_order(self, setting: Setting) -> bool:
        """Whether devices of a kind are used in the cluster's order: all have as much memory."""
        groups = self.by_kind(setting)
        return all(len({device.memory_bytes for device in group}) == 1 for group in groups)

    def kinds(self, setting: Setting) -> list[Device]:
        """The first device of each kind."""
        return [group[0] for group in self.by_kind(setting)]

    def size(self, setting: Setting) -> CellSize:
        """Return how large a cell is."""
        n_parts, n_chunks = setting.grid.n_micro_batches, setting.grid.n_chunks
        return CellSize.of(self.workload, n_parts, n_chunks, setting.data_parallel)

    def n_busy(self, setting: Setting, device: Device) -> float:
        """Return how many stages compute at the same time as one on a device, see `busy_stages`."""
        n_cells = setting.grid.n_micro_batches * setting.grid.n_chunks
        key = (setting.n_stages, n_cells, setting.data_parallel, device.name)
        if key not in self._busy_known:
            stages = self.options.stages
            if stages is not None:
                beside = [stage.device for stage in stages]
            else:
                beside = [each.name for each in self.devices(setting)[: setting.n_stages]]
            found = busy_stages(self.cluster, device, beside, n_cells, setting.data_parallel)
            self._busy_known[key] = found
        return self._busy_known[key]

    def blocks(
        self, setting: Setting, device: Device, size: CellSize, n_busy: float
    ) -> list[tuple[BlockTimes, int]]:
        """Say what each run of blocks takes on a device, beside so many busy stages."""
        key = (setting.core, device.kind, size, n_busy)
        if key not in self._blocks_known:
            found = run_times(
                self._runs, self.workload.model, setting.core, self.costs, device, size, n_busy
            )
            if self._has_second_devices:
                found = [
                    (both_at_once(times, times) if block.bidirectional else times, count)
                    for (block, _), (times, count) in zip(self._runs, found, strict=True)
                ]
            self._blocks_known[key] = found
        return self._blocks_known[key]

    @property
    def _has_second_devices(self) -> bool:
        """Whether blocks may have a device for each direction; then all are taken to have them."""
        return any(stage.reverse_device for stage in self.options.stages or ())

    def works(self, branch: Branch) -> Works:
        """Add up what blocks take at the least: on the fastest devices, with any number of stages.

        A part takes the least beside as few busy stages as can be, or beside as many, see
        `CostModel`.
        """
        setting = branch.fewest
        kinds = self.kinds(setting)
        # Of several kinds of devices nobody knows yet how many compute beside each other.
        pairs = [(device, 1.0) for device in kinds]
        if len(kinds) == 1:
            busy = {self.n_busy(each, kinds[0]) for each in (branch.fewest, branch.most)}
            pairs = [(kinds[0], n_busy) for n_busy in sorted(busy)]
        size, grid = self.size(setting), setting.grid
        has_w, again = separates(grid.schedule), grid.recomputes
        key = (setting.core, size, *(n for _, n in pairs), has_w, again, setting.data_parallel)
        if key not in self._works_known:
            found = [self.blocks(setting, device, size, n_busy) for device, n_busy in pairs]
            runs = found[0] if len(found) == 1 else list(map(_least, zip(*found, strict=True)))
            around = zip(*(self.costs.around(*pair) for pair in pairs), strict=True)
            self._works_known[key] = Works.of(
                runs,
                CellTimes(*map(min, around)),
                grid.n_chunks,
                separates_weights=has_w,
                again=again,
            )
        return self._works_known[key]

    def slowness(self, branch: Branch) -> Sequence[float]:
        """Say how much slower than the fastest device the fastest ones are, one for each stage."""
        setting = branch.most
        if len(self.by_kind(setting)) == 1:
            return (1.0,) * setting.n_stages
        works = self.works(branch)
        size = self.size(setting)
        key = (setting.core, size, setting.data_parallel, setting.grid.schedule)
        if key not in self._slowness_known:
            found: list[float] = []
            for group in self.by_kind(setting):
                blocks = self.blocks(setting, group[0], size, 1)
                pairs = zip(blocks, works.fastest, strict=True)
                least = min(_least_ratio(own, fast) for (own, _), (fast, _) in pairs)
                found += [max(1.0, least)] * len(group)
            self._slowness_known[key] = sorted(found)
        return self._slowness_known[key][: setting.n_stages]

    def crossing(self, setting: Setting) -> Crossing:
        """Return what a cell takes at the least from the first stage to the last, see `Route`."""
        if setting.data_parallel not in self._routes_known:
            if self.options.stages is not None:
                devices = [self.cluster.device(stage.device) for stage in self.options.stages]
            else:
                groups = self.by_kind(setting)
                # Nobody knows yet which devices of several kinds stand beside each other.
                is_known = len(groups) == 1 and self.is_in_order(setting)
                devices = groups[0] if is_known else []
            self._routes_known[setting.data_parallel] = routes(devices, self.costs.link)
        known = self._routes_known[setting.data_parallel]
        route = known[setting.n_stages - 1] if len(known) >= setting.n_stages else Route()
        n_cells = setting.grid.n_micro_batches * setting.grid.n_chunks * setting.data_parallel
        return route.crossing(cell_bytes(self.workload, self._least_width, n_cells))

    def exchange_ms(self, setting: Setting, n_parameters: int) -> float:
        """Return how long replicas take at the least to add up so many gradients of a stage."""
        width = setting.data_parallel
        if width == 1 or len(self.by_kind(setting)) > 1 or not self.is_in_order(setting):
            return 0.0
        key = (width, setting.n_stages, n_parameters)
        if key not in self._exchanges_known:
            devices = self.devices(setting)[: setting.n_stages]
            n_apart = len({device.name for device in devices})
            rings = [replicas_of(device, n_apart, width, self.cluster) for device in devices]
            n_bytes = n_parameters * self.workload.bytes_per_number
            found = min(exchange_ms(ring, self.costs.link, n_bytes) for ring in rings)
            self._exchanges_known[key] = found
        return self._exchanges_known[key]

    @cached_property
    def _least_width(self) -> int:
        """Features of what enters a stage at the least."""
        blocks = self.workload.model.blocks
        return min(block.input_size for block in blocks[1:] or blocks)

    @cached_property
    def _runs(self) -> tuple[Run, ...]:
        return block_runs(self.workload.model)

    # What many settings have in common is worked out once.

    @cached_property
    def _busy_known(self) -> dict[object, float]:
        return {}

    @cached_property
    def _blocks_known(self) -> dict[object, list[tuple[BlockTimes, int]]]:
        return {}

    @cached_property
    def _works_known(self) -> dict[object, Works]:
        return {}

    @cached_property
    def _slowness_known(self) -> dict[object, list[float]]:
        return {}

    @cached_property
    def _routes_known(self) -> dict[int, list[Route]]:
        return {}

    @cached_property
    def _exchanges_known(self) -> dict[object, float]:
        return {}

    @cached_property
    def _kinds_known(self) -> dict[int, list[list[Device]]]:
        return {}


def separates(schedule: str) -> bool:
    """Return whether a schedule has a W."""
    return build_schedule(schedule, 1, 1, 1).separates_weights


def _least_ratio(own: BlockTimes, fastest: BlockTimes) -> float:
    """Return how many times as long a block takes as on the fastest devices, at least."""
    pairs = zip((*own.cell, *own.whole), (*fastest.cell, *fastest.whole), strict=True)
    return min((slow / fast for slow, fast in pairs if fast > 0), default=1.0)


def _least(found: Sequence[tuple[BlockTimes, int]]) -> tuple[BlockTimes, int]:
    """The least that a block of a run takes anywhere, and the length of the run."""
    times, count = [block for block, _ in found], found[0][1]

    def least(parts: Sequence[CellTimes]) -> CellTimes:
        return CellTimes(*map(min, zip(*parts, strict=True)))

    fastest = BlockTimes(
        least([block.cell for block in times]),
        least([block.whole for block in times]),
        least([block.last for block in times]),
        times[0].is_barrier,
    )
    return fastest, count
