"""Planned: a plan with what it was made from, and what it should come to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from gru_parallel.choices import core_on
from gru_parallel.placement.cluster import Cluster, Device
from gru_parallel.placement.cost import block_costs
from gru_parallel.placement.model_spec import BlockSpec
from gru_parallel.placement.plan import Plan, StagePlan
from gru_parallel.planning.cell_costs import CostModel, Workload
from gru_parallel.planning.crossings import Crossing, crossings, exchange_ms, replicas_of
from gru_parallel.planning.memory import MemoryModel, StageMemory
from gru_parallel.planning.options import Setting
from gru_parallel.planning.predict import predict, schedule_of
from gru_parallel.planning.processors import busy_stages, crowding, pools
from gru_parallel.planning.shortage import Shortage, shortages
from gru_parallel.planning.stage_times import (
    BlockTimes,
    CellSize,
    StageTimes,
    block_times,
    both_at_once,
    runs_of_blocks,
    stage_of,
)
from gru_parallel.schedule.simulate import Pool
from gru_parallel.schedule.timeline import Timeline


@dataclass(frozen=True)
class Planned:
    """A plan with what it was made from, and what it should come to.

    Attributes:
        plan: which block runs where, and how a batch is cut.
        workload: what is trained.
        cluster: the devices that could be used; those of the plan are among them.
        costs: how long parts take.
        replays: whether steps are recorded and replayed.

    Raises:
        ValueError: the model has another number of blocks than the plan.
        UsageError: the cluster lacks a device of the plan, there is no such schedule, or the
            schedule does not go with a barrier in time.
    """

    plan: Plan
    workload: Workload
    cluster: Cluster
    costs: CostModel
    replays: bool = False

    def __post_init__(self) -> None:
        n_blocks = len(self.workload.model.blocks)
        if n_blocks != self.plan.n_blocks:
            raise ValueError(
                f"{n_blocks} blocks of the model do not fit the plan's {self.plan.n_blocks}; plan"
                " for this model."
            )
        # Now, because what cannot run is to be found before a run begins.
        _ = self.timeline

    @property
    def setting(self) -> Setting:
        """All that the plan consists of but which block is where."""
        plan = self.plan
        return Setting(plan.n_stages, plan.data_parallel, plan.core, plan.grid)

    @cached_property
    def timeline(self) -> Timeline:
        """The timeline of a training step."""
        return predict(self.plan, self.stage_times, self.barriers, self.crossings, self.pools)

    @property
    def timeline_without_barriers(self) -> Timeline:
        """What `timeline` would be if no layer waited for the whole window."""
        free = [
            StageTimes(times.cell.plus(times.at_once.times(1 / self.plan.grid.n_chunks)))
            for times in self.stage_times
        ]
        return predict(self.plan, free, frozenset(), self.crossings, self.pools)

    @property
    def step_ms(self) -> float:
        """A whole training step: the pipeline, what replicas exchange, and the optimiser."""
        return self.timeline.step_ms + self.exchange_ms + self.optimizer_ms

    @property
    def optimizer_ms(self) -> float:
        """What a step takes before its first cell and after its last, the optimiser included."""
        devices = [self._device(stage) for stage in self.plan.stages]
        numbers = self.stage_parameters
        if devices[0].is_cpu:
            # One thread does it for all stages.
            return self.costs.step_ms(devices[0], sum(numbers))
        return max(map(self.costs.step_ms, devices, numbers))

    @cached_property
    def exchange_ms(self) -> float:
        """How much later the last replicas have added up the gradients of a stage.

        Those of each stage add them up as soon as it has ended.
        """
        plan, width = self.plan, self.plan.data_parallel
        if width == 1:
            return 0.0
        n_apart, n_bytes = len(set(plan.devices)), self.workload.bytes_per_number
        ends_ms = [self.timeline.stage_events(stage)[-1].end_ms for stage in range(plan.n_stages)]
        done_ms = []
        for stage, end_ms, number in zip(plan.stages, ends_ms, self.stage_parameters, strict=True):
            ring = replicas_of(self._device(stage), n_apart, width, self.cluster)
            done_ms.append(end_ms + exchange_ms(ring, self.costs.link, number * n_bytes))
        return max(done_ms) - max(ends_ms)

    @cached_property
    def stage_times(self) -> tuple[StageTimes, ...]:
        """What each stage takes of a micro-batch."""
        size = CellSize.of(
            self.workload,
            self.plan.grid.n_micro_batches,
            self.plan.grid.n_chunks,
            self.plan.data_parallel,
        )
        known: dict[str, list[BlockTimes]] = {}
        runs = runs_of_blocks(self.workload.model)
        alike: dict[object, StageTimes] = {}
        times = []
        for index, stage in enumerate(self.plan.stages):
            device = self._device(stage)
            # Blocks alike on devices alike take the same; a second device may be any.
            blocks = index if stage.reverse_device else runs.within(stage.blocks)
            crowded = crowding(self.plan, self.cluster, device)
            key = device.kind, device.machine, crowded, blocks
            if key not in alike:
                around = self.costs.around(device, self._n_busy(device))
                alone = stage_of(self._blocks(stage, size, known), around)
                alike[key] = alone.slower(crowded)
            times.append(alike[key])
        return tuple(times)

    @property
    def stage_times_ms(self) -> tuple[tuple[float, float, float], ...]:
        """For each stage the time of all its F, all its B and all its W, in milliseconds.

        Where the reverse direction has a device of its own, both directions run at once. What B
        runs again of F counts to B.
        """
        separates = self.separates_weights
        return tuple(
            times.cells_ms(self.plan.grid, separates_weights=separates)
            for times in self.stage_times
        )

    @property
    def separates_weights(self) -> bool:
        """Whether the schedule has a W."""
        return schedule_of(self.plan, self.barriers).separates_weights

    @cached_property
    def barriers(self) -> frozenset[int]:
        """The stages that hold a barrier in time."""
        blocks = self.workload.model.blocks
        return frozenset(
            index
            for index, stage in enumerate(self.plan.stages)
            if any(_is_barrier(blocks[block]) for block in stage.blocks)
        )

    @property
    def crossings(self) -> tuple[Crossing, ...]:
        """For each boundary between stages, what the result of a cell takes to cross it."""
        devices = map(self._device, self.plan.stages)
        return crossings(self.plan, self.workload, devices, self.costs.link)

    @cached_property
    def stage_memory(self) -> tuple[StageMemory, ...]:
        """What each stage needs of memory, of as many cells as the schedule keeps at once."""
        model, parts = self.memory_model, zip(self.plan.stages, self.kept_cells, strict=True)
        return tuple(model.stage(stage.blocks, *cells) for stage, cells in parts)

    @property
    def memory_model(self) -> MemoryModel:
        """What any stage of the plan's grid would need."""
        plan = self.plan
        devices = [stage.device for stage in plan.stages for _ in stage.blocks]
        return MemoryModel(self._workload, plan.grid, devices, plan.data_parallel, self.replays)

    @property
    def kept_cells(self) -> tuple[tuple[int, int], ...]:
        """For each stage, the cells that it keeps at once, and of these those that wait for W."""
        return schedule_of(self.plan, self.barriers).peak_cells

    @property
    def stage_memory_bytes(self) -> tuple[int, ...]:
        """All that each stage needs of memory."""
        return tuple(memory.total_bytes for memory in self.stage_memory)

    @property
    def stage_activation_bytes(self) -> tuple[int, ...]:
        """What each stage keeps for B and W."""
        return tuple(memory.activation_bytes for memory in self.stage_memory)

    @cached_property
    def shortages(self) -> tuple[Shortage, ...]:
        """Where devices lack memory; () where all fits, as far as their memory is known."""
        plan, model = self.plan, self.memory_model
        second = {
            index: model.second(stage.blocks, self.stage_memory[index])
            for index, stage in enumerate(plan.stages)
            if stage.reverse_device is not None
        }
        return shortages(
            self.stage_memory, plan, self.cluster, self._workload, plan.data_parallel, second
        )

    @property
    def fits(self) -> bool:
        """Whether no device lacks memory, as far as that is known."""
        return not self.shortages

    @property
    def work_ms(self) -> float:
        """What all stages compute, added up."""
        return sum(map(sum, self.stage_times_ms))

    @cached_property
    def stage_parameters(self) -> tuple[int, ...]:
        """Trained parameters of each stage, encoder and head counted with the blocks beside."""
        return tuple(
            sum(self._parameters[block] for block in stage.blocks) for stage in self.plan.stages
        )

    @cached_property
    def _workload(self) -> Workload:
        """The workload with the core of the plan."""
        return replace(self.workload, model=replace(self.workload.model, core=self.plan.core))

    @cached_property
    def _parameters(self) -> list[int]:
        # They do not depend on batch and window.
        return [cost.n_parameters for cost in block_costs(self.workload.model, 1, 1)]

    @property
    def cores(self) -> tuple[str, ...]:
        """Of each block, how its layers compute a chunk."""
        stages = self.plan.stages
        return tuple(core_on(s.device, self.plan.core) for s in stages for _ in s.blocks)

    @property
    def idle_devices(self) -> tuple[str, ...]:
        """The devices that could be used and carry no stage, in the order of the cluster."""
        n_used = self.plan.data_parallel
        if n_used > 1:
            return self.cluster.device_names[n_used * len(set(self.plan.devices)) :]
        used = self.plan.all_devices
        return tuple(name for name in self.cluster.device_names if name not in used)

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The stages that share processors: too few cores, or one accelerator."""
        return pools(self.plan, self.cluster)

    def _device(self, stage: StagePlan) -> Device:
        return self.cluster.device(stage.device)

    def _n_busy(self, device: Device) -> float:
        plan = self.plan
        n_cells = plan.grid.n_micro_batches * plan.grid.n_chunks
        return busy_stages(self.cluster, device, plan.devices, n_cells, plan.data_parallel)

    def _blocks(
        self, stage: StagePlan, size: CellSize, known: dict[str, list[BlockTimes]]
    ) -> list[BlockTimes]:
        """Say what each block of a stage takes; `known` has those of all blocks, by device."""
        here = slice(stage.blocks.start, stage.blocks.stop)
        on_each = [self._times_on(name, size, known)[here] for name in stage.devices]
        if len(on_each) == 1:
            return on_each[0]
        blocks = self.workload.model.blocks[here]
        return [
            both_at_once(own, other) if block.bidirectional else own
            for block, own, other in zip(blocks, *on_each, strict=True)
        ]

    def _times_on(
        self, name: str, size: CellSize, known: dict[str, list[BlockTimes]]
    ) -> list[BlockTimes]:
        device = self.cluster.device(name)
        key = f"{device.kind} {device.machine}"
        if key not in known:
            model, n_busy = self.workload.model, self._n_busy(device)
            known[key] = block_times(model, self.plan.core, self.costs, device, size, n_busy)
        return known[key]


def _is_barrier(block: BlockSpec) -> bool:
    return block.bidirectional or block.h_0 == "previous"
