"""From the settings to the plan, by the device map or by the planner."""

from __future__ import annotations

from dataclasses import replace

from gru_parallel.assembly.model_spec import model_spec
from gru_parallel.choices import AUTO, core_on
from gru_parallel.config.schema import Config
from gru_parallel.engine.devices import (
    default_devices,
    devices_of_ranks,
    existing_devices,
    existing_devices_of_ranks,
)
from gru_parallel.errors import UsageError
from gru_parallel.placement import Cluster, Grid, ModelSpec, Plan, block_costs
from gru_parallel.placement.cost import input_bytes, mask_bytes
from gru_parallel.placement.device_map import has_numbers
from gru_parallel.planning import (
    Planned,
    check_reverse_devices,
    check_weights_can_wait,
    default_chunks,
    make_plan,
    plan_from_device_map,
)


def build_plan(
    config: Config,
    n_channels: int,
    n_targets: int,
    *,
    check_exists: bool,
    n_ranks: int | None = None,
) -> Planned:
    """Make the plan: by the device map where there is one, by the planner where there is none.

    Args:
        config: the run's settings.
        n_channels: features of the windows.
        n_targets: columns to forecast.
        check_exists: whether the devices must exist on this machine.
        n_ranks: of each replica, each with a device; None for the devices of this process.

    Raises:
        UsageError: the device map, or the schedule, cannot work.
    """
    data, schedule, placement = config.data, config.schedule, config.placement
    num_layers = config.model.num_layers
    spec = model_spec(config, n_channels, n_targets)
    # Of the replica with the most rows.
    sizes = data.input_length, -(-data.batch_size // config.data_parallel)
    costs = block_costs(spec, *sizes)
    is_auto = schedule.n_chunks == AUTO
    grid = Grid(
        config.model.layers_per_block,
        schedule.name,
        schedule.n_micro_batches,
        1 if is_auto else schedule.n_chunks,
        schedule.truncate,
        schedule.recompute,
    )
    if placement.device_map in (None, AUTO):
        devices = default_devices() if n_ranks is None else devices_of_ranks(n_ranks)
        plan = make_plan(costs, devices, num_layers, grid)
    else:
        existing: tuple[str, ...] = ()
        if check_exists or has_numbers(placement.device_map):
            existing = existing_devices() if n_ranks is None else existing_devices_of_ranks(n_ranks)
        plan = plan_from_device_map(
            placement.device_map,
            existing,
            num_layers=num_layers,
            grid=grid,
            merge=placement.merge,
            check_exists=check_exists,
        )
        devices = plan.all_devices
    if is_auto:
        n_chunks = default_chunks(plan, data.input_length)
        plan = replace(plan, grid=replace(grid, n_chunks=n_chunks))
    check_reverse_devices(plan, [block.bidirectional for block in spec.blocks])
    check_weights_can_wait(plan, [spec.core] * plan.n_blocks)
    return _planned(config, spec, sizes, plan, Cluster.of(devices))


def _planned(
    config: Config, spec: ModelSpec, sizes: tuple[int, int], plan: Plan, cluster: Cluster
) -> Planned:
    """Put the costs of a model to a plan of it."""
    of_blocks = [stage.device for stage in plan.stages for _ in stage.blocks]
    costs = block_costs(spec, *sizes, of_blocks)
    cores = [core_on(device, spec.core) for device in of_blocks]
    masks = mask_bytes(spec, *sizes) if spec.has_dropout else ()
    if _replays(config, plan):
        return Planned(plan, costs, cluster, input_bytes(spec, *sizes), masks, cores)
    if masks:
        kept = (cost.activation_bytes + mask for cost, mask in zip(costs, masks, strict=True))
        pairs = zip(costs, kept, strict=True)
        costs = tuple(replace(cost, activation_bytes=n_bytes) for cost, n_bytes in pairs)
    return Planned(plan, costs, cluster, cores=cores)


def _replays(config: Config, plan: Plan) -> bool:
    """Whether an engine with this plan records its steps and replays them.

    Raises:
        UsageError: it is to, and a stage has a second device.
    """
    second = next((s.device_text for s in plan.stages if s.reverse_device is not None), None)
    if config.engine.graphs is True and second is not None:
        raise UsageError(
            f"engine.graphs=true does not go with the second device of {second}, whose thread works"
            " beside its stage; use engine.graphs=auto, or one device for each block."
        )
    if config.engine.graphs == "auto":
        is_truncated = plan.grid.truncate is not None
        return not is_truncated and all(device.startswith("cuda") for device in plan.all_devices)
    return bool(config.engine.graphs)
