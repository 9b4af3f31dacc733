"""The outcome of a run beside what its plan promised, as a table."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from gru_parallel.errors import counted
from gru_parallel.report.summary import Summary
from gru_parallel.report.units import format_bytes, format_ms, format_percent


def outcome_table(summary: Summary) -> Table:
    """Show what was promised of each stage and of the step, and what came of it.

    At most 80 columns wide, with one row per stage, and one for the whole step. A time that is 20 %
    or more above its promise is bold. The caption has the bubble, and the memory of the process
    where stages cannot be told apart.
    """
    table = Table(
        title=Text("Promise and outcome", style="bold"),
        caption=Text("\n").join(Text(line) for line in _caption(summary)),
        caption_style="",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_footer=True,
    )
    step_ms = summary.step_ms
    table.add_column("stage", footer="step", justify="right")
    table.add_column("device")
    table.add_column("time\nplanned", footer=format_ms(summary.predicted_step_ms), justify="right")
    table.add_column("\nmeasured", footer=_ms(step_ms), justify="right")
    table.add_column("\n", footer=_change(summary.predicted_step_ms, step_ms), justify="right")
    planned_bytes = sum(stage.predicted_memory_bytes for stage in summary.stages)
    table.add_column("memory\nplanned", footer=format_bytes(planned_bytes), justify="right")
    table.add_column("\nmeasured", justify="right")
    for number, stage in enumerate(summary.stages):
        table.add_row(
            str(number),
            stage.device,
            format_ms(stage.predicted_ms),
            Text(_ms(stage.measured_ms), style="bold" if stage.is_slow else ""),
            _change(stage.predicted_ms, stage.measured_ms),
            format_bytes(stage.predicted_memory_bytes),
            _bytes(stage.measured_memory_bytes),
        )
    return table


def _caption(summary: Summary) -> list[str]:
    measured, grown = summary.measured_bubble, summary.peak_rss_growth_bytes
    found = "not measured" if measured is None else f"measured {format_percent(measured)}"
    lines = [f"bubble: planned {format_percent(summary.predicted_bubble)}, {found}"]
    if summary.timeline_step is not None:
        lines.append(
            f"step: median of {counted(summary.timed_steps, 'step')}, with the optimiser;"
            f" stages: step {summary.timeline_step:,}"
        )
        if not summary.is_warm:
            lines.append("only the first steps were timed, which take longer")
    if grown is not None and any(stage.measured_memory_bytes is None for stage in summary.stages):
        lines.append(f"memory of this process at its peak: {format_bytes(grown)} more than before")
    return lines


def _ms(time_ms: float | None) -> str:
    return "-" if time_ms is None else format_ms(time_ms)


def _bytes(n_bytes: int | None) -> str:
    return "-" if n_bytes is None else format_bytes(n_bytes)


def _change(planned: float, measured: float | None) -> str:
    if measured is None or planned <= 0:
        return ""
    return f"{round(100 * (measured / planned - 1)):+,} %"
