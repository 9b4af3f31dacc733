"""Adds up what a backtest measures, by series, target, horizon step and method.

What is measured of a value is worked out elsewhere: here are sums, counts and means, over all
values, by step, and for each row of a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

MAPE = "mape"

OfValues = tuple[NDArray[np.floating], NDArray[np.bool]]
"""What each value adds to a mean, 0 where it does not count, and whether it does.

Arrays of shape `(windows, steps, targets)`.
"""


@dataclass(frozen=True)
class BacktestError:
    """The errors of one method at one step of one target of one series; a row of backtest.csv.

    Attributes:
        unique_id: name of the series.
        target: the column that is forecast.
        step: rows ahead of the origin, counted from 1.
        method: "model", or the name of a baseline.
        n: number of values, one for each origin.
        errors: by column, the same ones in all rows; NaN where one is unknown.
    """

    unique_id: str
    target: str
    step: int
    method: str
    n: int
    errors: Mapping[str, float]


class BacktestErrors:
    """Adds up what is measured in a backtest.

    Args:
        series: names of all series, forecast or not.
        targets: names of the targets.
        steps: rows ahead of each step.
        metrics: names of what is measured, in their order; "rmse" is worked out from "mse".
    """

    def __init__(
        self,
        series: Sequence[str],
        targets: Sequence[str],
        steps: Sequence[int],
        metrics: Sequence[str],
    ) -> None:
        self._series, self._targets, self._steps = series, targets, steps
        self._metrics = metrics
        self._shape = (len(series), len(steps), len(targets))
        self._sums: dict[str, dict[str, Values]] = {}
        self._counts: dict[str, dict[str, NDArray[np.int64]]] = {}

    def add(self, method: str, series: NDArray[np.intp], measured: Mapping[str, OfValues]) -> None:
        """Count forecasts of some windows.

        Args:
            method: that made them.
            series: number of each window's series, array of shape `(windows,)`.
            measured: of each value, by name, in the standardised units of the run where it has any;
                possibly not all metrics, but always the same of a method.
        """
        sums, counts = self._sums.setdefault(method, {}), self._counts.setdefault(method, {})
        for name, (values, is_counted) in measured.items():
            np.add.at(sums.setdefault(name, np.zeros(self._shape)), series, values)
            n_counted = counts.setdefault(name, np.zeros(self._shape, dtype=np.int64))
            np.add.at(n_counted, series, is_counted)

    def overall(self) -> dict[str, dict[str, float]]:
        """Return the means over all values, by method and metric."""
        return {
            method: {name: float(mean) for name, mean in self._means(method, (0, 1, 2)).items()}
            for method in self._sums
        }

    def by_step(self) -> dict[str, dict[str, Values]]:
        """Return the means of each step by method and metric, arrays of shape `(steps,)`."""
        return {method: self._means(method, (0, 2)) for method in self._sums}

    def table(self, scale: Values, naive: Values) -> list[BacktestError]:
        """List the errors by series, target, step and method; a series without any is left out.

        Args:
            scale: that standardises each target, array of shape `(targets,)`.
            naive: mean absolute error of the naive forecast in the history of each series, in its
                units, see `naive_error`, array of shape `(series, targets)`.
        """
        columns = {method: self._columns(method, scale, naive) for method in self._sums}
        return [
            BacktestError(
                self._series[at[0]],
                self._targets[at[2]],
                self._steps[at[1]],
                method,
                int(self._counts[method]["mse"][at]),
                {name: of_all[at].item() for name, of_all in of_method.items()},
            )
            for at in self._places()
            for method, of_method in columns.items()
        ]

    def _columns(self, method: str, scale: Values, naive: Values) -> dict[str, NDArray[np.generic]]:
        """Return what the table has of a method, arrays of shape `(series, steps, targets)`."""
        means = self._means(method, ())
        unknown = np.full(self._shape, np.nan)
        mae_in_units = means["mae"] * scale
        of_history = np.broadcast_to(naive[:, np.newaxis], self._shape)
        counts = self._counts[method]
        return {
            **{name: means.get(name, unknown) for name in self._metrics},
            "mse_in_units": means["mse"] * scale**2,
            "mae_in_units": mae_in_units,
            "mase_of_history": _over(mae_in_units, of_history, of_history > 0),
            MAPE: self._mean(method, MAPE, ()),
            "zeros": counts["mse"] - counts[MAPE],
        }

    def _means(self, method: str, over: tuple[int, ...]) -> dict[str, Values]:
        """Return the means of a method over some dimensions of series, steps and targets."""
        measured = self._sums[method]
        found = {}
        for name in self._metrics:
            if name == "rmse":
                found[name] = np.sqrt(self._mean(method, "mse", over))
            elif name in measured:
                found[name] = self._mean(method, name, over)
        return found

    def _mean(self, method: str, name: str, over: tuple[int, ...]) -> Values:
        total, n = (of[method][name].sum(axis=over) for of in (self._sums, self._counts))
        return _over(total, n, n > 0)

    def _places(self) -> Iterator[tuple[int, int, int]]:
        """Yield series, step and target, in the order of the table."""
        n = next(iter(self._counts.values()))["mse"]
        n_series, n_steps, n_targets = self._shape
        for series, target, step in np.ndindex(n_series, n_targets, n_steps):
            at = series, step, target
            if n[at]:
                yield at


def _over(total: Values, n: NDArray[np.generic], is_known: NDArray[np.bool]) -> Values:
    """Divide, and give NaN where that is not known."""
    found: Values = np.divide(total, n, out=np.full(np.shape(total), np.nan), where=is_known)
    return found
