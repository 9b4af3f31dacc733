"""The plan as a table: what each stage holds and costs, and what the schedule makes of it.

All times and sizes are what the planner expects of a step.
"""

from rich import box
from rich.table import Table
from rich.text import Text

from gru_parallel.errors import counted
from gru_parallel.placement import Plan
from gru_parallel.planning import Planned
from gru_parallel.report.stage_names import layer_span
from gru_parallel.report.units import format_bytes, format_ms, format_percent


def plan_table(planned: Planned) -> Table:
    """Show the plan, one row per stage, and the predicted step below; at most 80 columns wide.

    The columns are stage, device, layers, parameters, memory and predicted time of one step. The
    caption has the schedule, the predicted step time and bubble, barriers in time, and devices that
    idle or carry several stages.
    """
    plan, memory_bytes = planned.plan, planned.stage_memory_bytes
    table = Table(
        title=Text("Plan", style="bold"),
        caption=Text("\n").join(_caption(planned)),
        caption_style="",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_footer=plan.n_stages > 1,
    )
    table.add_column("stage", footer="all", justify="right")
    table.add_column("device")
    table.add_column("layers", footer=layer_span(range(plan.num_layers)), justify="right")
    n_parameters = planned.stage_parameters
    table.add_column("parameters", footer=f"{sum(n_parameters):,}", justify="right")
    table.add_column("memory", footer=format_bytes(sum(memory_bytes)), justify="right")
    table.add_column("predicted time per step", justify="right")
    for stage, times_ms in enumerate(planned.stage_times_ms):
        table.add_row(
            str(stage),
            plan.stages[stage].device_text,
            layer_span(plan.stage_layers(stage)),
            f"{n_parameters[stage]:,}",
            format_bytes(memory_bytes[stage]),
            format_ms(sum(times_ms)),
        )
    return table


def _caption(planned: Planned) -> list[Text]:
    plan, grid, timeline = planned.plan, planned.plan.grid, planned.timeline
    lines = [
        f"schedule: {grid.schedule}, {counted(grid.n_micro_batches, 'micro-batch', 'es')} x "
        f"{counted(grid.n_chunks, 'chunk')}",
        *_cores(planned),
        f"predicted: step {format_ms(planned.step_ms)}, of which {format_ms(timeline.step_ms)}"
        f" pipeline; bubble {format_percent(timeline.bubble)}",
        f"times of layers: {planned.costs.source}",
    ]
    if plan.data_parallel > 1:
        lines.append(f"{plan.data_parallel} replicas of this, each with its share of a batch")
    if grid.truncate is not None:
        lines.append(f"gradients of the state cut every {counted(grid.truncate, 'chunk')}")
    if grid.recomputes:
        lines.append("backward runs forward again, cell by cell (recompute=cell)")
    lines += _barriers(planned)
    lines += _shared_devices(plan)
    lines += [f"does not fit: {shortage}" for shortage in planned.shortages]
    if planned.idle_devices:
        lines.append(f"idle, without a stage: {', '.join(planned.idle_devices)}")
    # Text, because rich would take what is in brackets or between colons for its markup.
    return [Text(line) for line in lines]


def _cores(planned: Planned) -> list[str]:
    """Tell how layers compute a chunk; by kind of device where that differs."""
    kinds = (stage.device.partition(":")[0] for stage in planned.plan.stages for _ in stage.blocks)
    found = dict(zip(kinds, planned.cores, strict=False))
    if len(set(found.values())) > 1:
        return [f"core: {', '.join(f'{core} on {kind}' for kind, core in found.items())}"]
    return [f"core: {core}" for core in planned.cores[:1]]


def _barriers(planned: Planned) -> list[str]:
    """Tell where chunks gain nothing, and what the step would take without these barriers."""
    stages = sorted(planned.barriers)
    if not stages:
        return []
    free = planned.timeline_without_barriers
    named = f"stage {stages[0]}" if len(stages) == 1 else f"stages {', '.join(map(str, stages))}"
    return [
        f"barriers in time (whole windows only): {named}",
        f"without them: pipeline {format_ms(free.step_ms)}, bubble {format_percent(free.bubble)}",
    ]


def _shared_devices(plan: Plan) -> list[str]:
    """Tell which devices carry several stages, which take turns."""
    names = [name for stage in plan.stages for name in stage.devices]
    shared = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if not shared:
        return []
    return [f"stages take turns on {', '.join(shared)}"]
