"""From the settings to the plan, by the device map or by the planner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gru_parallel.config import Config
from gru_parallel.engine.devices import default_devices, existing_devices
from gru_parallel.placement import (
    Cluster,
    Device,
    LayerCost,
    Link,
    Plan,
    costs_by_block,
    gru_layer_cost,
    linear_cost,
    make_plan,
    plan_from_device_map,
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


def build_plan(config: Config, n_channels: int, n_targets: int, *, check_exists: bool) -> Planned:
    """Make the plan: by the device map where there is one, by the planner where there is none.

    Args:
        config: the run's settings.
        n_channels: features of the windows.
        n_targets: columns to forecast.
        check_exists: whether the devices must exist on this machine.

    Raises:
        UsageError: the device map cannot work.
    """
    model, schedule = config.model, config.schedule
    block_costs = _block_costs(config, n_channels, n_targets)
    if config.placement.device_map is None:
        cluster = make_cluster(default_devices())
        plan = make_plan(
            block_costs,
            cluster,
            num_layers=model.num_layers,
            layers_per_block=model.layers_per_block,
            schedule=schedule.name,
            n_micro_batches=schedule.n_micro_batches,
            n_chunks=schedule.n_chunks,
        )
        return Planned(plan, block_costs, cluster)
    plan = plan_from_device_map(
        config.placement.device_map,
        existing_devices(),
        num_layers=model.num_layers,
        layers_per_block=model.layers_per_block,
        schedule=schedule.name,
        n_micro_batches=schedule.n_micro_batches,
        n_chunks=schedule.n_chunks,
        merge=config.placement.merge,
        check_exists=check_exists,
    )
    return Planned(plan, block_costs, make_cluster(tuple(dict.fromkeys(plan.devices))))


def make_cluster(names: Sequence[str]) -> Cluster:
    """Describe devices to the planner, by their kind alone."""
    devices = tuple(
        Device(name, _CPU_FLOPS_PER_S if name.startswith("cpu") else _ACCELERATOR_FLOPS_PER_S)
        for name in names
    )
    return Cluster(devices, _LINK)


def _block_costs(config: Config, n_channels: int, n_targets: int) -> tuple[LayerCost, ...]:
    data, model = config.data, config.model
    batch, steps, hidden = data.batch_size, data.input_length, model.hidden_size
    encoded = hidden if model.encoder == "linear" else n_channels
    encoder = None
    if model.encoder == "linear":
        encoder = linear_cost("encoder", n_channels, hidden, batch * steps)
    if model.head == "window":
        head = linear_cost("head", hidden, data.horizon * n_targets, batch)
    else:
        head = linear_cost("head", hidden, n_targets, batch * steps)
    layers = [
        gru_layer_cost(f"layer {k}", hidden if k else encoded, hidden, steps, batch)
        for k in range(model.num_layers)
    ]
    return costs_by_block(layers, model.layers_per_block, encoder, head)
