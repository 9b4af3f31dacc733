"""From the settings to the plan, by the device map or by the planner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gru_parallel.config.schema import Config
from gru_parallel.engine.devices import (
    default_devices,
    devices_of_ranks,
    existing_devices,
    existing_devices_of_ranks,
)
from gru_parallel.model.stack import one_a_block
from gru_parallel.placement import (
    Cluster,
    Device,
    LayerCost,
    Link,
    Plan,
    costs_by_block,
    gru_layer_cost,
    linear_cost,
)
from gru_parallel.placement.plan import count_blocks
from gru_parallel.planning import (
    check_reverse_devices,
    held_shares,
    make_plan,
    plan_from_device_map,
    predict,
    stage_times_ms,
)

# What a GRU layer of middling size reaches, measured on one core of a server CPU at H=128 to 256;
# for accelerators an order of magnitude. Only predicted times depend on them, not the plan.
_CPU_FLOPS_PER_S = 7e10
_ACCELERATOR_FLOPS_PER_S = 5e12
_LINK = Link(bytes_per_s=1e10, latency_s=1e-5)


@dataclass(frozen=True)
class Planned:
    """A plan with what it was made from.

    Attributes:
        plan: which block runs where, and how a batch is cut.
        block_costs: of each block, encoder and head counted in.
        cluster: the devices that could be used.
    """

    plan: Plan
    block_costs: tuple[LayerCost, ...]
    cluster: Cluster


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
    model, schedule = config.model, config.schedule
    block_costs = _block_costs(config, n_channels, n_targets)
    sizes: dict[str, Any] = {
        "num_layers": model.num_layers,
        "layers_per_block": model.layers_per_block,
        "schedule": schedule.name,
        "n_micro_batches": schedule.n_micro_batches,
        "n_chunks": schedule.n_chunks,
        "truncate": schedule.truncate,
    }
    if config.placement.device_map in (None, "auto"):
        cluster = make_cluster(default_devices() if n_ranks is None else devices_of_ranks(n_ranks))
        plan = make_plan(block_costs, cluster, **sizes)
    else:
        plan = plan_from_device_map(
            config.placement.device_map,
            existing_devices() if n_ranks is None else existing_devices_of_ranks(n_ranks),
            merge=config.placement.merge,
            check_exists=check_exists,
            **sizes,
        )
        cluster = make_cluster(plan.all_devices)
    check_reverse_devices(plan, [cost.reverse_forward_flops > 0 for cost in block_costs])
    # Truncation and barriers in time do not go together; found here, before a run begins.
    predict(plan, stage_times_ms(plan, block_costs, cluster), held_shares(plan, block_costs))
    return Planned(plan, block_costs, cluster)


def make_cluster(names: Sequence[str]) -> Cluster:
    """Describe devices to the planner, by their kind alone."""
    devices = tuple(
        Device(name, _CPU_FLOPS_PER_S if name.startswith("cpu") else _ACCELERATOR_FLOPS_PER_S)
        for name in names
    )
    return Cluster(devices, _LINK)


def _block_costs(config: Config, n_channels: int, n_targets: int) -> tuple[LayerCost, ...]:
    data, model = config.data, config.model
    # Of the replica with the most rows.
    batch = -(-data.batch_size // config.data_parallel)
    steps, hidden = data.input_length, model.hidden_size
    encoded = hidden if model.encoder == "linear" else n_channels
    encoder = None
    if model.encoder == "linear":
        encoder = linear_cost("encoder", n_channels, hidden, batch * steps)
    n_blocks = count_blocks(model.num_layers, model.layers_per_block)
    both_ways = one_a_block("model.bidirectional", model.bidirectional, n_blocks)
    policies = one_a_block("model.h_0", model.h_0, n_blocks)
    width = encoded
    layers = []
    for k in range(model.num_layers):
        block = k // model.layers_per_block
        layers.append(
            gru_layer_cost(
                f"layer {k}",
                width,
                hidden,
                steps,
                batch,
                bidirectional=both_ways[block],
                is_barrier=policies[block] == "previous",
            )
        )
        width = hidden * (2 if both_ways[block] else 1)
    if model.head == "window":
        head = linear_cost("head", width, data.horizon * n_targets, batch)
    else:
        head = linear_cost("head", width, n_targets, batch * steps)
    return costs_by_block(layers, model.layers_per_block, encoder, head)
