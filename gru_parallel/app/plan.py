"""The heavy half of `plan`: makes the plan that a run would have, prints it and writes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from gru_parallel.app.outcome import fail
from gru_parallel.assembly.data import build_data
from gru_parallel.assembly.length import run_length
from gru_parallel.assembly.planned import Planning, build_plan
from gru_parallel.config.check_training import has_schedule, needs_lightning
from gru_parallel.config.schema import Config, ProcessesConfig
from gru_parallel.data.series_outline import SeriesOutline
from gru_parallel.errors import UsageError
from gru_parallel.placement import Plan
from gru_parallel.planning import alternatives, device_counts, scaling_curve
from gru_parallel.report import plan_table
from gru_parallel.report.plan_choice import (
    alternatives_table,
    curve_table,
    found_line,
    trials_table,
)
from gru_parallel.whole_file import write_text

PLAN_FILE = Path("plan.json")


def show(config: Config) -> int:
    """Make the plan, whose devices need not exist here; print and write it; return the status.

    Raises:
        UsageError: a setting or the data cannot work, or something else is in the plan's file.
    """
    _check_file(PLAN_FILE)
    if needs_lightning(config):
        # It takes two seconds, and most plans ask nothing that it alone can answer.
        from gru_parallel.assembly.trainer import check_trainer, quieten_lightning

        quieten_lightning()
        check_trainer(config)
    data = build_data(config, SeriesOutline)
    length = run_length(config, data)
    if config.ckpt_path is None and has_schedule(config.lr_scheduler):
        # Else the rates depend on how far the checkpoint is, which is opened in training only.
        # A schedule is torch's, or made of torch's.
        from gru_parallel.assembly.optimizer import check_rates

        check_rates(config, length)
    planning = build_plan(config, data.widths, check_exists=False)
    console = Console()
    console.print(plan_table(planning.planned))
    _show_choice(console, planning)
    problem = _write(planning.planned.plan)
    if problem is not None:
        # An older plan may be there, which placement=file would take.
        return fail(problem, 1)
    words = f"Written to {PLAN_FILE}; train with placement=file placement.path={PLAN_FILE}"
    if isinstance(config.engine, ProcessesConfig):
        n_replicas = planning.planned.plan.data_parallel
        words += f" engine=processes engine.data_parallel={n_replicas}"
    console.print(words, soft_wrap=True, highlight=False, markup=False)
    return 0


def _show_choice(console: Console, planning: Planning) -> None:
    """Say why the plan is as it is, where there was a choice."""
    problem, best = planning.problem, planning.planned
    if planning.found is None:
        return
    console.print(found_line(replace(planning.found, best=best)), highlight=False)
    was_tried = sum(trial.step_ms is not None for trial, _ in planning.tried) > 1
    if planning.tried:
        console.print(trials_table(best, planning.tried))
    others = alternatives(problem, best)
    if others:
        console.print(alternatives_table(best, others))
    n_devices = len(problem.cluster.devices)
    if n_devices > 1 and problem.options.stages is None:
        curve = scaling_curve(problem, device_counts(n_devices), best, was_tried=was_tried)
        over_ranks = problem.options.uses_all
        console.print(curve_table(curve, was_tried=was_tried, over_ranks=over_ranks))


def _check_file(path: Path) -> None:
    """Check that nothing but a plan would be replaced.

    Raises:
        UsageError: there is something else.
    """
    if not path.exists():
        return
    try:
        Plan.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, UsageError) as error:
        raise UsageError(
            f"{path} is not a plan, and the plan would be written there; move it, or plan in"
            " another folder."
        ) from error


def _write(plan: Plan) -> str | None:
    """Write the plan; return what is wrong if it cannot be written."""
    try:
        write_text(plan.to_json() + "\n", PLAN_FILE)
    except OSError as error:
        return (
            f"{PLAN_FILE} could not be written ({error.strerror}); make room or plan in another"
            " folder."
        )
    return None
