"""What barriers in time cost a plan: the work that can only be done once a whole window is there.

A bidirectional layer, and one that starts from the h_n of the layer before, take in all chunks of a
micro-batch before they give out the first. Across them time chunks overlap nothing.
"""

from collections.abc import Sequence

from gru_parallel.errors import UsageError
from gru_parallel.placement.cost import LayerCost
from gru_parallel.placement.plan import Plan


def barrier_stages(plan: Plan, block_costs: Sequence[LayerCost]) -> frozenset[int]:
    """Name the stages that hold a barrier in time.

    Args:
        plan: the plan.
        block_costs: cost of each block, in order.

    Returns:
        Indices of the stages.
    """
    return frozenset(
        index
        for index, stage in enumerate(plan.stages)
        if any(block_costs[block].is_barrier for block in stage.blocks)
    )


def held_shares(plan: Plan, block_costs: Sequence[LayerCost]) -> dict[int, tuple[float, float]]:
    """Work out how much of a stage's work waits for the whole window.

    Forward, that is the first barrier of the stage and all after it; backward, the last barrier
    and all before it.

    Args:
        plan: the plan.
        block_costs: cost of each block, in order.

    Returns:
        By stage, for those with a barrier: the shares of its F and of its B, from 0 to 1.
    """
    shares = {}
    for index in barrier_stages(plan, block_costs):
        costs = [block_costs[block] for block in plan.stages[index].blocks]
        at = [place for place, cost in enumerate(costs) if cost.is_barrier]
        total = sum(cost.total_flops for cost in costs)
        after = sum(cost.total_flops for cost in costs[at[0] :])
        before = sum(cost.total_flops for cost in costs[: at[-1] + 1])
        shares[index] = (after / total, before / total)
    return shares


def check_reverse_devices(plan: Plan, bidirectional: Sequence[bool]) -> None:
    """Refuse a second device where there is no second direction.

    Args:
        plan: the plan.
        bidirectional: for each block, whether it runs in both directions of time.

    Raises:
        UsageError: a stage names two devices and has no bidirectional block.
    """
    for stage in plan.stages:
        if stage.reverse_device is None or any(bidirectional[block] for block in stage.blocks):
            continue
        first, last = stage.blocks[0], stage.blocks[-1]
        blocks = f"block {first}" if first == last else f"blocks {first}-{last}"
        raise UsageError(
            f"placement.device_map gives {blocks} two devices, {stage.device_text}, which only a"
            " bidirectional block can use, one for each direction; give it one device, or set"
            " model.bidirectional."
        )
