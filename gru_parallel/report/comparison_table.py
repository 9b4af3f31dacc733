"""Compared runs as a table, as sentences below it, and as a CSV file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from gru_parallel.errors import counted
from gru_parallel.report.comparison import (
    SEED,
    Comparison,
    Row,
    Spread,
    repeated_seeds,
    why_apart,
)
from gru_parallel.report.summary import LABELS
from gru_parallel.report.units import format_error, format_ms
from gru_parallel.whole_file import write_table

_MOST_SEEDS = 5
_TIME = "step_ms"
_PINBALL = "test/pinball"
_SHOWN = ("test/mse", "test/mae", _PINBALL, _TIME)
"""Of what is compared; the CSV file has all."""


def comparison_table(comparison: Comparison) -> Table:
    """Show one row per setting, with mean and spread of each metric, and the baselines below.

    Of the metrics of the validation it has the one that decides, of those of the test a few. The
    row that is the best by it says so in the last column, if there are several.
    """
    rows = comparison.rows
    names = list(rows[0].settings)
    shown = {comparison.chosen_by, *_SHOWN} - ({_PINBALL} if comparison.has_other_levels else set())
    metrics = [name for name in _metrics(rows) if name in shown]
    table = Table(title=Text(counted(len(comparison.runs), "run"), "bold"), box=box.SIMPLE_HEAD)
    for name in names:
        table.add_column(_head(name))
    table.add_column(SEED)
    for name in metrics:
        table.add_column(_head(name), justify="right")
    table.add_column("")
    for number, row in enumerate(rows):
        is_best = number == comparison.best and len(rows) > 1
        cells = [_value(row.settings[name]) for name in names]
        cells += [_seeds(row), *(_cell(name, row.metrics.get(name)) for name in metrics)]
        table.add_row(*cells, "best" if is_best else "", style="bold" if is_best else "")
    for name, errors in rows[0].runs[0].summary.baselines.items():
        found = {f"test/{metric}": error for metric, error in errors.items()}
        cells = [LABELS.get(name, name), *[""] * len(names)]
        table.add_row(*cells, *(_cell(metric, found.get(metric)) for metric in metrics), "")
    return table


def sentences(comparisons: Sequence[Comparison]) -> list[str]:
    """Say what the numbers are, which is the best, and what cannot be compared."""
    found = []
    if len(comparisons) > 1:
        apart = ", ".join(why_apart(comparisons))
        tests = {run.tested_on for comparison in comparisons for run in comparison.runs}
        part = "test" if len(tests) > 1 else "validation"
        reason = f"they differ in {apart}" if apart else f"their {part} windows are not the same"
        found.append(
            f"Not comparable: the runs of one table with those of another; {reason}. Each table"
            " has its own best."
        )
    rows = [row for comparison in comparisons for row in comparison.rows]
    if any(len(row.runs) > 1 for row in rows):
        found.append("mean ± sample standard deviation (n - 1) over the runs of a row")
    for comparison in comparisons:
        found += [*_not_compared(comparison), *_best(comparison)]
    for row in rows:
        found += [
            f"Counted twice: {run.name} has the settings and the seed of another run."
            for run in repeated_seeds(row)
        ]
    return found


def write_comparison(comparisons: Sequence[Comparison], path: Path) -> None:
    """Write one line per row: its settings, seeds, and of each metric mean, spread and extremes.

    The column `comparable` numbers what can be compared, from 0; `best` is 1 for the best row of
    each number. What a row does not have is empty.
    """
    rows = [row for comparison in comparisons for row in comparison.rows]
    names, metrics = list(rows[0].settings), _metrics(rows)
    head = ["comparable", "best", *names, "seeds", "runs"]
    head += [f"{metric} {what}" for metric in metrics for what in ("mean", "sd", "min", "max")]
    lines = []
    for number, comparison in enumerate(comparisons):
        for place, row in enumerate(comparison.rows):
            values = [row.settings[name] for name in names]
            seeds = " ".join(map(str, row.seeds))
            cells = [number, int(place == comparison.best), *values, seeds, len(row.runs)]
            for metric in metrics:
                cells += _columns(row.metrics.get(metric))
            lines.append([*cells, " ".join(run.name for run in row.runs)])
    write_table([*head, "folders"], lines, path)


def _not_compared(comparison: Comparison) -> list[str]:
    """Say which numbers of a table are of different kinds."""
    found = []
    if comparison.other_losses:
        found.append(
            f"Losses are not comparable here, as the runs differ in"
            f" {', '.join(comparison.other_losses)}; {comparison.chosen_by} decides."
        )
    if comparison.has_other_levels:
        found.append(
            "Nor are pinball losses, which are means over the quantiles of each run: the table"
            " leaves them out."
        )
    return found


def _best(comparison: Comparison) -> list[str]:
    run = comparison.best_run
    if comparison.best is None or run is None or len(comparison.runs) == 1:
        return []
    row, metric = comparison.rows[comparison.best], comparison.chosen_by
    of_all = "mean " if len(row.runs) > 1 else ""
    what = ", ".join(f"{name}={value}" for name, value in row.settings.items())
    lowest = f"{of_all}{metric} {row.metrics[metric].mean:.4g}"
    return [
        f"Best by validation, not by the test: {what or 'all have the same settings'} ({lowest});"
        f" its best run: {run.name}"
    ]


def _metrics(rows: Iterable[Row]) -> list[str]:
    """Return the names of the metrics of any row, the time last."""
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    return sorted(names, key=lambda name: name == _TIME)


def _head(name: str) -> str:
    """Break a name where a column would be wide."""
    return "step" if name == _TIME else name.replace(".", ".\n")


def _value(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _seeds(row: Row) -> str:
    seeds = list(map(str, row.seeds))
    return ", ".join(seeds) if len(seeds) <= _MOST_SEEDS else f"{len(seeds)} seeds"


def _cell(name: str, found: Spread | float | None) -> str:
    if found is None:
        return "-"
    mean, deviation = (found, None) if isinstance(found, float) else (found.mean, found.deviation)
    if not math.isfinite(mean):
        return "-"
    if name == _TIME:
        return format_ms(mean)
    text = format_error(mean)
    return text if deviation is None else f"{text} ± {format_error(deviation)}"


def _columns(spread: Spread | None) -> list[Any]:
    if spread is None:
        return ["", "", "", ""]
    deviation = "" if spread.deviation is None else spread.deviation
    return [spread.mean, deviation, spread.least, spread.most]
