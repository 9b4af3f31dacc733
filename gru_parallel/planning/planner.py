"""The planner: a device map, or block costs and devices in; the plan out."""

from collections.abc import Sequence

from gru_parallel.choices import core_on
from gru_parallel.errors import UsageError
from gru_parallel.placement.cost import LayerCost
from gru_parallel.placement.device_map import named_blocks, parse_device_map
from gru_parallel.placement.grid import Grid
from gru_parallel.placement.partition import partition
from gru_parallel.placement.plan import Plan, StagePlan
from gru_parallel.schedule.registry import build_schedule

DEFAULT_GRID = Grid()


def make_plan(
    block_costs: Sequence[LayerCost], devices: Sequence[str], num_layers: int, grid: Grid
) -> Plan:
    """Cut the blocks into as many stages as there are devices, the slowest as fast as can be.

    The devices are assumed to be equally fast. Where there are more devices than blocks, the last
    ones stay idle. Of all plans that use the devices in their order, this one has the smallest
    largest sum of forward and backward operations of a stage.

    Raises:
        ValueError: the number of costs is not the number of blocks.
    """
    n_stages = min(len(devices), len(block_costs))
    sizes = partition([cost.total_flops for cost in block_costs], n_stages)
    starts = [sum(sizes[:stage]) for stage in range(n_stages)]
    return Plan(num_layers, grid, tuple(map(StagePlan, devices, starts, sizes)))


def plan_from_device_map(
    device_map: object,
    available: Sequence[str],
    *,
    num_layers: int,
    grid: Grid = DEFAULT_GRID,
    merge: bool = True,
    check_exists: bool = True,
) -> Plan:
    """Make the plan that a device map describes.

    Args:
        device_map: one device per block, or ranges of blocks; see `parse_device_map`.
        available: names of the devices that there are.
        num_layers: layers of the whole stack.
        grid: how the stack and its batches are cut.
        merge: whether consecutive blocks on one device become one stage.
        check_exists: whether the map may name available devices only.

    Raises:
        UsageError: the device map cannot work.
    """
    n_blocks = grid.n_blocks(num_layers)
    stages = parse_device_map(device_map, n_blocks, available, merge, check_exists)
    return Plan(num_layers, grid, stages)


def check_reverse_devices(plan: Plan, bidirectional: Sequence[bool]) -> None:
    """Refuse a second device where there is no second direction; `bidirectional` is by block.

    Raises:
        UsageError: a stage names two devices and has no bidirectional block.
    """
    for stage in plan.stages:
        if stage.reverse_device and not any(bidirectional[block] for block in stage.blocks):
            raise UsageError(
                f"placement.device_map gives {named_blocks(stage.blocks)} two devices,"
                f" {stage.device_text}, which only a bidirectional block can use, one for each"
                " direction; give it one device, or set model.bidirectional."
            )


def check_weights_can_wait(plan: Plan, cores: Sequence[str | None]) -> None:
    """Refuse a schedule that separates W from B where B has to work out the weights' gradients.

    Args:
        plan: names the schedule and the devices.
        cores: by block, one of `CORES`; None for a class of the caller's own, which is let pass.

    Raises:
        UsageError: W would have nothing to do in a block.
    """
    schedule = plan.grid.schedule
    if not build_schedule(schedule, 1, 1, 1).separates_weights:
        return
    for stage in plan.stages:
        for core in (cores[block] for block in stage.blocks):
            native = [name for name in stage.devices if core and core_on(name, core) == "native"]
            if native:
                by = core if core == "native" else f"{core}, native on {native[0]},"
                raise UsageError(
                    f"schedule={schedule} leaves the weights' gradients for later, which"
                    f" model.core={by} cannot; use model.core=fused or model.core=lean, or another"
                    " schedule, such as schedule=one_f_one_b."
                )
