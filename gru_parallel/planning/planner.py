"""The planner: a device map, or block costs and a cluster in; the plan out.

Counts work, not transfers: what crosses between stages is not part of a stage's time.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add

from gru_parallel.placement.cluster import Cluster
from gru_parallel.placement.cost import LayerCost
from gru_parallel.placement.device_map import parse_device_map
from gru_parallel.placement.partition import partition
from gru_parallel.placement.plan import Plan, StagePlan, count_blocks


def make_plan(
    block_costs: Sequence[LayerCost],
    cluster: Cluster,
    *,
    num_layers: int,
    layers_per_block: int,
    schedule: str,
    n_micro_batches: int,
    n_chunks: int,
    truncate: int | None = None,
) -> Plan:
    """Cut the blocks into as many stages as there are devices, the slowest as fast as can be.

    The devices are taken to be equally fast. Where there are more devices than blocks, the last
    ones stay idle.

    Args:
        block_costs: cost of each block, with the encoder in the first and the head in the last.
        cluster: the devices, in the order in which they are used.
        num_layers: layers of the whole stack.
        layers_per_block: layers of each block; the last block may hold fewer.
        schedule: name of the schedule.
        n_micro_batches: slices of the batch.
        n_chunks: slices of time.
        truncate: chunks after which gradients of the state are cut; None for nowhere.

    Returns:
        The plan with the smallest largest sum of forward and backward operations a stage.

    Raises:
        UsageError: a size is not positive.
        ValueError: the number of costs is not the number of blocks.
    """
    n_stages = min(len(cluster.devices), len(block_costs))
    sizes = partition([cost.total_flops for cost in block_costs], n_stages)
    starts = [sum(sizes[:stage]) for stage in range(n_stages)]
    return Plan(
        num_layers=num_layers,
        layers_per_block=layers_per_block,
        stages=tuple(map(StagePlan, cluster.device_names, starts, sizes)),
        schedule=schedule,
        n_micro_batches=n_micro_batches,
        n_chunks=n_chunks,
        truncate=truncate,
    )


def plan_from_device_map(
    device_map: object,
    available: Sequence[str],
    *,
    num_layers: int,
    layers_per_block: int = 1,
    schedule: str = "one_f_one_b",
    n_micro_batches: int = 1,
    n_chunks: int = 8,
    truncate: int | None = None,
    merge: bool = True,
    check_exists: bool = True,
) -> Plan:
    """Make the plan that a device map describes.

    Args:
        device_map: a device a block, or ranges of blocks; see `parse_device_map`.
        available: names of the devices that there are.
        num_layers: layers of the whole stack.
        layers_per_block: layers of each block; the last block may hold fewer.
        schedule: name of the schedule.
        n_micro_batches: slices of the batch.
        n_chunks: slices of time.
        truncate: chunks after which gradients of the state are cut; None for nowhere.
        merge: whether consecutive blocks on one device become one stage.
        check_exists: whether the map may name available devices only.

    Returns:
        The plan.

    Raises:
        UsageError: a size is not positive, or the device map cannot work.
    """
    return Plan(
        num_layers=num_layers,
        layers_per_block=layers_per_block,
        stages=parse_device_map(
            device_map, count_blocks(num_layers, layers_per_block), available, merge, check_exists
        ),
        schedule=schedule,
        n_micro_batches=n_micro_batches,
        n_chunks=n_chunks,
        truncate=truncate,
    )


def stage_costs(plan: Plan, block_costs: Sequence[LayerCost]) -> tuple[LayerCost, ...]:
    """Add up the costs of each stage's blocks.

    Args:
        plan: the plan.
        block_costs: cost of each block, in order.

    Returns:
        The cost of each stage, in order.

    Raises:
        ValueError: the number of costs is not the plan's number of blocks.
    """
    if len(block_costs) != plan.n_blocks:
        raise ValueError(
            f"{len(block_costs)} costs do not fit the plan's {plan.n_blocks} blocks; "
            "give one for each block."
        )
    return tuple(
        reduce(add, (block_costs[block] for block in stage.blocks)) for stage in plan.stages
    )


def stage_times_ms(
    plan: Plan, block_costs: Sequence[LayerCost], cluster: Cluster
) -> tuple[tuple[float, float], ...]:
    """Predict how long each stage computes in one step.

    A device that carries several stages is taken to run each of them as if it were alone. Where
    the reverse direction has a device of its own, both directions run at once.

    Args:
        plan: the plan.
        block_costs: cost of each block, in order.
        cluster: the devices that the plan names, and possibly others.

    Returns:
        For each stage, the time of all its F and the time of all its B and W, in milliseconds.

    Raises:
        UsageError: the plan names a device that the cluster lacks.
        ValueError: the number of costs is not the plan's number of blocks.
    """
    return tuple(
        _stage_time_ms(stage, cost, cluster)
        for stage, cost in zip(plan.stages, stage_costs(plan, block_costs), strict=True)
    )


def _stage_time_ms(stage: StagePlan, cost: LayerCost, cluster: Cluster) -> tuple[float, float]:
    device = cluster.device(stage.device)
    if stage.reverse_device is None:
        return device.compute_ms(cost.forward_flops), device.compute_ms(cost.backward_flops)
    helped_ms = cluster.device(stage.reverse_device).compute_ms(cost.reverse_forward_flops)
    own_share = 1 - cost.reverse_forward_flops / cost.forward_flops
    both = (device.compute_ms(cost.forward_flops * own_share), helped_ms)
    n_backward = cost.backward_flops / cost.forward_flops
    return max(both), n_backward * max(both)


def idle_devices(plan: Plan, cluster: Cluster) -> tuple[str, ...]:
    """Name the devices that the plan leaves without work.

    Args:
        plan: the plan.
        cluster: the devices that could be used.

    Returns:
        Names of the cluster's devices that carry no stage, in the cluster's order.
    """
    return tuple(name for name in cluster.device_names if name not in plan.all_devices)
