"""Planned: a plan with what it was made from, and what it should come to.

Counts work, not transfers: what crosses between stages is not part of a stage's time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add

from gru_parallel.placement.cluster import Cluster
from gru_parallel.placement.cost import COPIES_OF_A_PARAMETER, LayerCost
from gru_parallel.placement.plan import Plan, StagePlan
from gru_parallel.planning.activations import all_activation_bytes, recomputed_bytes
from gru_parallel.planning.predict import predict
from gru_parallel.schedule.action import Op
from gru_parallel.schedule.timeline import Timeline


@dataclass(frozen=True)
class Planned:
    """A plan with what it was made from, and what it should come to.

    A device that carries several stages is assumed to run each of them as if it were alone.

    Attributes:
        plan: which block runs where, and how a batch is cut.
        block_costs: of each block, encoder and head counted in.
        cluster: the devices that could be used; those of the plan are among them.
        kept_inputs: for each block, the bytes of its inputs over the whole batch, if steps are
            recorded and replayed; None if they are not.
        kept_masks: for each block, the bytes of its masks of dropout, likewise; () for none.
        cores: of each block, how its layers compute a chunk; () if that is not known.

    Raises:
        ValueError: there is not one cost for each block.
        UsageError: the cluster lacks a device of the plan, there is no such schedule, or the
            schedule does not go with a barrier in time.
    """

    plan: Plan
    block_costs: Sequence[LayerCost]
    cluster: Cluster
    kept_inputs: Sequence[int] | None = None
    kept_masks: Sequence[int] = ()
    cores: Sequence[str] = ()

    def __post_init__(self) -> None:
        if len(self.block_costs) != self.plan.n_blocks:
            raise ValueError(
                f"{len(self.block_costs)} costs do not fit the plan's {self.plan.n_blocks} blocks;"
                " give one for each block."
            )
        # Now, because what cannot run is to be found before a run begins.
        _ = self.timeline

    @cached_property
    def timeline(self) -> Timeline:
        """The timeline of a training step if every device keeps its speed."""
        return predict(self.plan, self.stage_times_ms, self.held_shares)

    @property
    def timeline_without_barriers(self) -> Timeline:
        """What `timeline` would be if no layer waited for the whole window."""
        return predict(self.plan, self.stage_times_ms)

    @property
    def stage_costs(self) -> tuple[LayerCost, ...]:
        """The cost of each stage, in order."""
        return tuple(reduce(add, costs) for costs in self._costs_by_stage)

    @property
    def stage_times_ms(self) -> tuple[tuple[float, float], ...]:
        """For each stage the time of all its F, and that of all its B and W, in milliseconds.

        Where the reverse direction has a device of its own, both directions run at once. What B
        runs again of F counts to B.
        """
        stages = zip(self.plan.stages, self.stage_costs, strict=True)
        times_ms = (_times_ms(stage, cost, self.cluster) for stage, cost in stages)
        again = 1 if self.plan.grid.recomputes else 0
        return tuple((forward, backward + again * forward) for forward, backward in times_ms)

    @property
    def stage_memory_bytes(self) -> tuple[int, ...]:
        """The memory that each stage needs in a training step.

        Weights, gradients, both Adam moments, and `stage_activation_bytes`; where steps are
        replayed, what `replay_bytes` says besides.
        """
        weights = [cost.weight_bytes for cost in self.stage_costs]
        parts = zip(weights, self.stage_activation_bytes, self.replay_bytes, strict=True)
        return tuple(map(sum, parts))

    @property
    def stage_activation_bytes(self) -> tuple[int, ...]:
        """What each stage keeps for B and W, of as many cells as the schedule keeps at once.

        With recompute=cell that is what comes in and the states between chunks, beside the
        activations of one cell, or of those that wait for W; of a bidirectional block those of a
        micro-batch.
        """
        grid, peak = self.plan.grid, self.timeline.peak_activations
        separates = any(event.action.op is Op.W for event in self.timeline.events)
        counted = recomputed_bytes if grid.recomputes else all_activation_bytes
        return tuple(
            counted(costs, grid, peak(stage), peak(stage, Op.B) if separates else 0)
            for stage, costs in enumerate(self._costs_by_stage)
        )

    @property
    def replay_bytes(self) -> tuple[int, ...]:
        """The memory that each stage needs besides, to replay recorded steps; 0 if it does not.

        What comes from both neighbours and goes to them, of all cells, the masks of dropout, and a
        second copy of the gradients.
        """
        if self.kept_inputs is None:
            return (0,) * self.plan.n_stages
        of_stages = [self.kept_inputs[stage.blocks.start] for stage in self.plan.stages]
        # Outputs and their gradients lie on both sides of a boundary; the batch on one.
        before = [of_stages[0], *(2 * n_bytes for n_bytes in of_stages[1:])]
        after = [*(2 * n_bytes for n_bytes in of_stages[1:]), 0]
        masks = [sum(self.kept_masks[s.blocks.start : s.blocks.stop]) for s in self.plan.stages]
        gradients = [cost.weight_bytes // COPIES_OF_A_PARAMETER for cost in self.stage_costs]
        return tuple(map(sum, zip(before, after, masks, gradients, strict=True)))

    @property
    def held_shares(self) -> dict[int, tuple[float, float]]:
        """How much of its work waits for the whole window, for each stage with a barrier in time.

        The shares of its F, the first barrier and all after it, and of its B, the last barrier and
        all before it.
        """
        return {
            stage: _held_shares(costs)
            for stage, costs in enumerate(self._costs_by_stage)
            if any(cost.is_barrier for cost in costs)
        }

    @property
    def idle_devices(self) -> tuple[str, ...]:
        """The devices that could be used and carry no stage, in the order of the cluster."""
        used = self.plan.all_devices
        return tuple(name for name in self.cluster.device_names if name not in used)

    @property
    def _costs_by_stage(self) -> list[list[LayerCost]]:
        return [[self.block_costs[b] for b in stage.blocks] for stage in self.plan.stages]


def _times_ms(stage: StagePlan, cost: LayerCost, cluster: Cluster) -> tuple[float, float]:
    device = cluster.device(stage.device)
    if stage.reverse_device is None:
        return device.compute_ms(cost.forward_flops), device.compute_ms(cost.backward_flops)
    helped_ms = cluster.device(stage.reverse_device).compute_ms(cost.reverse_forward_flops)
    own_share = 1 - cost.reverse_forward_flops / cost.forward_flops
    both = (device.compute_ms(cost.forward_flops * own_share), helped_ms)
    n_backward = cost.backward_flops / cost.forward_flops
    return max(both), n_backward * max(both)


def _held_shares(costs: Sequence[LayerCost]) -> tuple[float, float]:
    barriers = [index for index, cost in enumerate(costs) if cost.is_barrier]
    total = sum(cost.total_flops for cost in costs)
    after = sum(cost.total_flops for cost in costs[barriers[0] :])
    before = sum(cost.total_flops for cost in costs[: barriers[-1] + 1])
    return after / total, before / total
