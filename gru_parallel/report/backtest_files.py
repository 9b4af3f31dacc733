"""The result of a backtest, as files that scripts read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gru_parallel.data.backtest_errors import BacktestError
from gru_parallel.report.json_file import write_json
from gru_parallel.whole_file import write_table


@dataclass(frozen=True)
class Backtest:
    """What a backtest came to; the names are the keys of backtest.json.

    Attributes:
        run: path of the folder of the run.
        checkpoint: path of the checkpoint that forecast; None where models were trained anew.
        data: path of the file, or the name of the built-in series.
        first_cutoff: the earliest origin of all series.
        last_cutoff: the latest one.
        stride: rows from one origin to the next.
        fits: number of models that were trained.
        test_metrics: what was measured of all forecasts by name, see `metric_names`, in the
            standardised units of the run where it has any.
        baselines: the same errors of each baseline.
        by_step: the same by method and name, one number for each step ahead.
        test_windows: number of forecasts, of all series.
        environment: versions, machine and devices.
    """

    run: str
    checkpoint: str | None
    data: str
    first_cutoff: str
    last_cutoff: str
    stride: int
    fits: int
    test_metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    by_step: dict[str, dict[str, list[float]]]
    test_windows: int
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def all_test_windows(self) -> int:
        """As many as there are forecasts."""
        return self.test_windows

    def write(self, path: Path) -> None:
        """Write it as strict JSON."""
        write_json(asdict(self), path)


def write_backtest_errors(errors: Sequence[BacktestError], path: Path) -> None:
    """Write a row for each series, target, step and method; see `write_table`.

    Args:
        errors: at least one row.
        path: of the file.
    """
    rows = [
        (row.unique_id, row.target, row.step, row.method, row.n, *row.errors.values())
        for row in errors
    ]
    columns = ("unique_id", "target", "step", "method", "n", *errors[0].errors)
    write_table(columns, rows, path)
