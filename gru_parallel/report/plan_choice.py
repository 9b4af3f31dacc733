"""Why the plan is as it is: plans next to it, and what more devices would bring, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from gru_parallel.errors import counted
from gru_parallel.placement import Plan
from gru_parallel.planning import (
    Alternative,
    CurvePoint,
    Found,
    Planned,
    pays_until,
)
from gru_parallel.planning.profile import Trial
from gru_parallel.planning.trials import promised_ms
from gru_parallel.report.units import format_bytes, format_ms, format_percent

MOST_ALTERNATIVES = 10

_OF_TRIALS = "Predicted; the last plan is the one that was the fastest when it ran."


def alternatives_table(best: Planned, others: Sequence[Alternative]) -> Table:
    """Show the plans that differ from the best one in one setting, what that costs, and why.

    Why a step takes longer is in two columns: the work of all stages together, beside that of the
    best plan, and the share of their time in which they are idle.
    """
    table = Table(title=Text("Alternatives", style="bold"), box=box.SIMPLE_HEAD)
    table.add_column("with")
    for name in ("step", "slower by", "work", "idle", "memory"):
        table.add_column(name, justify="right")
    for other in others[:MOST_ALTERNATIVES]:
        planned = other.planned
        table.add_row(
            other.change,
            format_ms(planned.step_ms),
            _signed(planned.step_ms / best.step_ms - 1),
            _signed(planned.work_ms / best.work_ms - 1),
            format_percent(planned.timeline.bubble),
            _memory(planned),
        )
    return table


def trials_table(chosen: Planned, tried: Sequence[tuple[Trial, Planned]]) -> Table:
    """Show the plans that ran before one was taken: what was predicted of them, and what they took.

    Both are times of a step without its optimiser.
    """
    table = Table(title=Text("Tried", style="bold"), box=box.SIMPLE_HEAD)
    for name in ("stages", "schedule", "cells", "core", "predicted", "took", ""):
        table.add_column(name, justify="right")
    for trial, planned in tried:
        plan, grid = planned.plan, planned.plan.grid
        table.add_row(
            str(plan.n_stages),
            _last_name(grid.schedule) + (", recompute=cell" if grid.recomputes else ""),
            f"{grid.n_micro_batches} x {grid.n_chunks}",
            _last_name(plan.core),
            format_ms(promised_ms(planned)),
            "no room" if trial.step_ms is None else format_ms(trial.step_ms),
            "taken" if plan == chosen.plan else "",
        )
    return table


def _last_name(name: str) -> str:
    """Leave out where a part of the user's own is: the table has no room for a full name."""
    return name.rpartition(".")[2]


def _signed(share: float) -> str:
    """Write by how much more or less something is."""
    # Rounded first, so that a little less does not print as -0.0.
    return f"{round(100 * share, 1) + 0.0:+,.1f} %"


def _memory(planned: Planned) -> str:
    """Name what the largest stage needs, or what is missing."""
    lacking = sum(shortage.lacking_bytes for shortage in planned.shortages)
    if lacking:
        return f"lacks {format_bytes(lacking)}"
    return format_bytes(max(planned.stage_memory_bytes))


def curve_table(
    curve: Sequence[CurvePoint], *, was_tried: bool = False, over_ranks: bool = False
) -> Table:
    """Show the best plan for 1, 2, 4, ... devices, and from where on more do not pay.

    Args:
        curve: the plans.
        was_tried: whether the last one was the fastest when it ran, which says more than a verdict.
        over_ranks: whether each device is a rank's, so that as many are used as are started.
    """
    verdict = _OF_TRIALS if was_tried else _verdict(curve, pays_until(curve), over_ranks)
    table = Table(
        title=Text("By number of devices", style="bold"),
        caption=Text(verdict),
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


def _verdict(curve: Sequence[CurvePoint], until: int, over_ranks: bool) -> str:
    most, last = curve[-1].n_devices, curve[-1].planned
    if len([point for point in curve if point.planned is not None]) < 2 or last is None:
        return ""
    n_used = last.plan.n_stages * last.plan.data_parallel
    if until == most and n_used < most:
        return f"Of {most} devices the plan uses {n_used}."
    if until < n_used:
        said = f"The plan uses {n_used} devices, which gain less than 10 % over {until}"
        enough = next(point.planned for point in curve if point.n_devices == until)
        assert enough is not None, "it is as fast"
        remedy = _fewer_ranks(enough.plan) if over_ranks else _no_split(last.plan, until)
        return f"{said}; {remedy}." if remedy else f"{said}."
    if until == 1 and most > 1:
        return "Do not split this model: more devices gain less than 10 %."
    if until < most:
        return f"More than {counted(until, 'device')} do not pay: they gain less than 10 %."
    return f"All {most} devices pay." if most > 1 else ""


def _no_split(plan: Plan, until: int) -> str:
    """Say what uses one device alone, where no more pay."""
    if until > 1 or plan.data_parallel > 1 or plan.n_blocks == 1:
        return ""
    one = f"{{0-{plan.n_blocks - 1}: {plan.all_devices[0]}}}"
    return f'use "placement.device_map={one}" not to split the model'


def _fewer_ranks(plan: Plan) -> str:
    """Say how to have a plan that uses fewer devices."""
    n_ranks = counted(plan.n_stages * plan.data_parallel, "rank")
    return f"start {n_ranks}, with engine.data_parallel={plan.data_parallel}"


def found_line(found: Found) -> str:
    """Say how thorough the search was."""
    tried = f"{found.n_simulated:,} plans simulated, of {found.n_settings:,} settings"
    if not found.best.fits:
        return f"{tried}; none of them fits"
    if found.gap < 5e-4:
        return f"{tried}; none is predicted to be faster"
    return f"{tried}; none is predicted to be more than {format_percent(found.gap)} faster"
