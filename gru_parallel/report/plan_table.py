"""The plan as a table: what each stage holds and costs, and what the schedule makes of it.

All times and sizes are the planner's estimates; nothing here has been measured.
"""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from gru_parallel.placement import Cluster, LayerCost, Plan
from gru_parallel.planning import (
    barrier_stages,
    held_shares,
    idle_devices,
    predict,
    stage_costs,
    stage_times_ms,
)
from gru_parallel.report.units import format_bytes, format_ms, format_percent
from gru_parallel.schedule import Timeline


def predicted_timeline(plan: Plan, block_costs: Sequence[LayerCost], cluster: Cluster) -> Timeline:
    """Simulate one training step of the plan on the cluster.

    Args:
        plan: the plan.
        block_costs: cost of each block, in order.
        cluster: the devices that the plan names, and possibly others.

    Returns:
        The timeline that the plan's schedule gives if every device keeps its speed.

    Raises:
        UsageError: the plan names a schedule that does not exist, or a device that the cluster
            lacks.
        ValueError: the number of costs is not the plan's number of blocks.
    """
    times_ms = stage_times_ms(plan, block_costs, cluster)
    return predict(plan, times_ms, held_shares(plan, block_costs))


def plan_table(plan: Plan, block_costs: Sequence[LayerCost], cluster: Cluster) -> Table:
    """Lay the plan out, a row a stage, with the predicted step under it; at most 80 columns.

    Args:
        plan: the plan.
        block_costs: cost of each block, in order.
        cluster: the devices that the plan names, and possibly others.

    Returns:
        A table of stage, device, layers, parameters, memory and predicted time of one step; the
        caption has the schedule, the predicted step time and bubble, and what to know about
        barriers in time, and devices that idle, carry several stages, or are too small.

    Raises:
        UsageError: as `predicted_timeline`.
        ValueError: as `predicted_timeline`.
    """
    costs = stage_costs(plan, block_costs)
    times_ms = stage_times_ms(plan, block_costs, cluster)
    table = Table(
        title=Text("Plan", style="bold"),
        caption=Text("\n").join(_caption(plan, block_costs, cluster)),
        caption_style="",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_footer=plan.n_stages > 1,
    )
    table.add_column("stage", footer="all", justify="right")
    table.add_column("device")
    table.add_column("layers", footer=_span(range(plan.num_layers)), justify="right")
    n_parameters = sum(cost.n_parameters for cost in costs)
    table.add_column("parameters", footer=f"{n_parameters:,}", justify="right")
    n_bytes = sum(cost.memory_bytes() for cost in costs)
    table.add_column("memory", footer=format_bytes(n_bytes), justify="right")
    table.add_column("predicted time a step", justify="right")
    for stage, (cost, (forward_ms, backward_ms)) in enumerate(zip(costs, times_ms, strict=True)):
        table.add_row(
            str(stage),
            plan.stages[stage].device_text,
            _span(plan.stage_layers(stage)),
            f"{cost.n_parameters:,}",
            format_bytes(cost.memory_bytes()),
            format_ms(forward_ms + backward_ms),
        )
    return table


def _span(layers: range) -> str:
    """Name layers in a row: 4, or 0-3."""
    return f"{layers[0]}" if len(layers) == 1 else f"{layers[0]}-{layers[-1]}"


def _caption(plan: Plan, block_costs: Sequence[LayerCost], cluster: Cluster) -> list[Text]:
    timeline = predicted_timeline(plan, block_costs, cluster)
    lines = [
        f"schedule: {plan.schedule}, {_count(plan.n_micro_batches, 'micro-batch', 'es')} x "
        f"{_count(plan.n_chunks, 'chunk')}",
        f"predicted: step {format_ms(timeline.step_ms)}, bubble {format_percent(timeline.bubble)}",
    ]
    if plan.truncate is not None:
        lines.append(f"gradients of the state cut every {_count(plan.truncate, 'chunk')}")
    lines += _barriers(plan, block_costs, cluster)
    lines += _shared_devices(plan)
    lines += _full_devices(plan, block_costs, cluster)
    idle = idle_devices(plan, cluster)
    if idle:
        lines.append(f"idle, without a stage: {', '.join(idle)}")
    # Text, because rich would read what stands in brackets or between colons as its own markup.
    return [Text(line) for line in lines]


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number} {noun}{'' if number == 1 else plural}"


def _barriers(plan: Plan, block_costs: Sequence[LayerCost], cluster: Cluster) -> list[str]:
    """Say where time chunks gain nothing, and what the step would take without that."""
    stages = sorted(barrier_stages(plan, block_costs))
    if not stages:
        return []
    free = predict(plan, stage_times_ms(plan, block_costs, cluster))
    named = f"stage {stages[0]}" if len(stages) == 1 else f"stages {', '.join(map(str, stages))}"
    return [
        f"barriers in time (whole windows only): {named}",
        f"without them: step {format_ms(free.step_ms)}, bubble {format_percent(free.bubble)}",
    ]


def _shared_devices(plan: Plan) -> list[str]:
    """Say which devices carry several stages: the prediction lets each of them run alone."""
    names = [name for stage in plan.stages for name in stage.devices]
    shared = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if not shared:
        return []
    return [f"predicted as if each stage had a device of its own; shared: {', '.join(shared)}"]


def _full_devices(plan: Plan, block_costs: Sequence[LayerCost], cluster: Cluster) -> list[str]:
    """Name the devices whose stages are estimated to need more memory than there is."""
    needed_bytes = dict.fromkeys(plan.devices, 0)
    for name, cost in zip(plan.devices, stage_costs(plan, block_costs), strict=True):
        needed_bytes[name] += cost.memory_bytes()
    full = [
        f"{name} ({format_bytes(n_bytes)} of {format_bytes(there)})"
        for name, n_bytes in needed_bytes.items()
        if (there := cluster.device(name).memory_bytes) is not None and n_bytes > there
    ]
    return [f"may need more memory than there is: {', '.join(full)}"] if full else []
