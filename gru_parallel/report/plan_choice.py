"""Why the plan is as it is: plans next to it, and what more devices would bring, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from gru_parallel.errors import counted
from gru_parallel.planning import (
    Alternative,
    CurvePoint,
    Found,
    Planned,
    pays_until,
)
from gru_parallel.report.units import format_bytes, format_ms, format_percent

MOST_ALTERNATIVES = 10


def alternatives_table(best: Planned, others: Sequence[Alternative]) -> Table:
    """Show the plans next to the best one: what is different, what that costs, and why.

    Why a step takes longer is in two columns: the work of all stages together, beside that of the
    best plan, and the share of their time in which they are idle.
    """
    table = Table(title=Text("Next to it", style="bold"), box=box.SIMPLE_HEAD)
    table.add_column("with")
    for name in ("step", "longer by", "work", "idle", "memory"):
        table.add_column(name, justify="right")
    for other in others[:MOST_ALTERNATIVES]:
        planned = other.planned
        table.add_row(
            other.change,
            format_ms(planned.step_ms),
            format_percent(planned.step_ms / best.step_ms - 1),
            # Rounded first, so that a little less does not print as -0.0.
            f"{round(100 * (planned.work_ms / best.work_ms - 1), 1) + 0.0:+.1f} %",
            format_percent(planned.timeline.bubble),
            _memory(planned),
        )
    return table


def _memory(planned: Planned) -> str:
    """Name what the largest stage needs, or what is missing."""
    lacking = sum(shortage.lacking_bytes for shortage in planned.shortages)
    if lacking:
        return f"lacks {format_bytes(lacking)}"
    return format_bytes(max(planned.stage_memory_bytes))


def curve_table(curve: Sequence[CurvePoint]) -> Table:
    """Show the best plan for 1, 2, 4, ... devices, and from where on more do not pay."""
    until = pays_until(curve)
    table = Table(
        title=Text("With more devices", style="bold"),
        caption=Text(_verdict(curve, until)),
        caption_style="",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for name in ("devices", "step", "times as fast", "stages", "replicas", "cells"):
        table.add_column(name, justify="right")
    first = next((point.planned for point in curve if point.planned is not None), None)
    for point in curve:
        planned = point.planned
        if planned is None or first is None:
            table.add_row(str(point.n_devices), "does not fit", *[""] * 4)
            continue
        grid = planned.plan.grid
        table.add_row(
            str(point.n_devices),
            format_ms(planned.step_ms),
            f"{first.step_ms / planned.step_ms:.2f}",
            str(planned.plan.n_stages),
            str(planned.plan.data_parallel),
            f"{grid.n_micro_batches} x {grid.n_chunks}",
        )
    return table


def _verdict(curve: Sequence[CurvePoint], until: int) -> str:
    most = curve[-1].n_devices
    if until == 1 and most > 1:
        return "Do not split this model: more devices gain less than 10 %."
    if until < most:
        return f"More than {counted(until, 'device')} do not pay: they gain less than 10 %."
    return f"All {most} devices pay." if most > 1 else ""


def found_line(found: Found) -> str:
    """Say how thorough the search was."""
    tried = f"{found.n_simulated:,} of {found.n_settings:,} settings simulated"
    if found.gap < 5e-4:
        return f"{tried}; no plan is predicted to be faster"
    return f"{tried}; no plan is predicted to be more than {found.gap:.1%} faster"
