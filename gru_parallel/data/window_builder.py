"""Makes windows to forecast of the rows that were cut for them: even steps, and what comes after.

Which rows these are is decided in `gru_parallel.data.tails`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gru_parallel.data.following_times import following
from gru_parallel.data.forecast_window import ForecastWindow
from gru_parallel.data.forecasts import as_whole_numbers, written
from gru_parallel.data.frequency import UNCHECKED, evenly_spaced, warn_of_gaps
from gru_parallel.data.gaps import repeated
from gru_parallel.data.rows import Rows
from gru_parallel.data.sheet import Sheet
from gru_parallel.data.static import Static, StaticColumn, encode_static
from gru_parallel.data.stretch import Stretch
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.errors import UsageError

N_TIMES = 16
"""Rows at most that it takes to see the step of a series: three weeks from Monday to Friday."""


@dataclass(frozen=True)
class Cut:
    """A place where a series is cut, to forecast from there.

    Attributes:
        past: the last rows before it: those of the window and, if it has fewer than `N_TIMES`, some
            more, whose times show the step.
        after: the rows that came after it.
        n_rows: number of rows of its series up to there.
    """

    past: Stretch
    after: Stretch
    n_rows: int


@dataclass(frozen=True)
class WindowBuilder:
    """What all windows of a file have in common.

    Attributes:
        shape: extent of a window.
        n_targets: number of columns to forecast.
        mean: of each column, for gaps before its first value.
        path: of the file, for messages.
        label: names the series where there is only one.
        frequency: the user's data.frequency.
        missing: the user's data.missing.
        future: names of the columns that are known ahead, the last ones.
        static: how what describes a series becomes numbers.
        time_column: name of the column of times; None where rows have none.
    """

    shape: WindowShape
    n_targets: int
    mean: NDArray[np.float64]
    path: Path
    label: str
    frequency: str | None
    missing: str
    future: Sequence[str]
    static: Sequence[StaticColumn]
    time_column: str | None = None

    @property
    def n_channels(self) -> int:
        """Number of columns that are not known ahead."""
        return len(self.mean) - len(self.future)

    @property
    def step(self) -> str | None:
        """What is known of the step from row to row; None if the times have to show it."""
        if self.time_column is None:
            # Rows are counted.
            return "1"
        return None if self.frequency == UNCHECKED else self.frequency

    @property
    def _is_evened(self) -> bool:
        """Whether the rows of a window have to be evenly spaced in time."""
        return self.step is not None and self.time_column is not None

    def is_long_enough(self, name: str, cut: Cut) -> bool:
        """Whether there are enough rows for a window, counting those that will be inserted.

        Args:
            name: of the series.
            cut: at the end of the window.

        Raises:
            UsageError: rows are not a whole number of steps apart.
        """
        rows, shortest = self.rows_of(cut), self.shape.shortest
        n_rows = len(rows)
        if 0 < n_rows < shortest and self._is_evened and self.missing == "interpolate":
            n_rows = len(self._even(name, cut).numbers)
        return n_rows >= shortest

    def rows_of(self, cut: Cut) -> Stretch:
        """Return the rows of a window, or what there is of them."""
        n_rows = len(cut.past)
        return cut.past.part(n_rows - self.shape.input_length, n_rows)

    def windows(self, cuts: Iterable[tuple[str, Static, Cut]]) -> list[ForecastWindow]:
        """Make the windows.

        Args:
            cuts: for each, the name of its series, what describes that, and its rows.

        Raises:
            UsageError: rows are missing and not to be filled, or what is known ahead is not there.
        """
        cuts = list(cuts)
        if self.frequency is None:
            self._warn_of_gaps((name, cut) for name, _, cut in cuts)
        return _with_whole_numbers([self._window(*each) for each in cuts])

    def _rows(self, name: str, stretch: Stretch) -> Rows:
        """The rows of a window as messages know them."""
        frame = pd.DataFrame({self.time_column or "time": stretch.times}, index=stretch.rows)
        sheet = Sheet(self.path, frame, 0, series=name)
        times = stretch.times if self.time_column else None
        return Rows(sheet, np.arange(len(stretch)), stretch.values, times, self.time_column)

    def _even(self, name: str, cut: Cut) -> Rows:
        """The rows of a window with those that are missing between them, which are NaN."""
        assert self.step is not None
        rows = self._rows(name, self.rows_of(cut))
        return evenly_spaced(rows, self.step, self.missing, cut.n_rows)

    def _warn_of_gaps(self, found: Iterable[tuple[str, Cut]]) -> None:
        """Warn of rows missing in windows, at the step that these and the rows before them have."""
        uneven = [self._rows(name, cut.past) for name, cut in found if self._may_span_gap(cut)]
        if uneven:
            warn_of_gaps(uneven, self.missing, self.shape.input_length)

    def _may_span_gap(self, cut: Cut) -> bool:
        # Most windows are even, which is quickly seen.
        if self.time_column is None:
            return False
        lengths = np.diff(self.rows_of(cut).times)
        return len(set(lengths.tolist())) > 1

    def _window(self, name: str, static: Static, cut: Cut) -> ForecastWindow:
        rows, after = self.rows_of(cut), cut.after
        values, times, n_filled = rows.values, rows.times, rows.n_filled
        n_steps = self.shape.horizon
        known = np.full((n_steps, self.n_targets), np.nan)
        future = np.full((n_steps, len(self.future)), np.nan)
        if self._is_evened:
            even = self._even(name, cut)
            assert even.times is not None
            n = self.shape.input_length
            values, times = repeated(even.numbers, self.mean)[-n:], even.times[-n:]
            at = even.positions[-n:]
            n_filled = np.where(at >= 0, rows.n_filled[at], self.n_channels)
            ahead = following(times, n_steps, self.step)
            at = np.searchsorted(after.times, ahead)
            for step, row in enumerate(at):
                if row < len(after) and after.times[row] == ahead[step]:
                    known[step] = after.came[row]
                    future[step] = after.values[row, self.n_channels :]
        else:
            n_known = len(after)
            known[:n_known] = after.came
            future[:n_known] = after.values[:, self.n_channels :]
            seen = np.concatenate([cut.past.times, after.times])
            if n_known < n_steps and len(seen) < 2 and self.step is None:
                raise UsageError(
                    f"data.path={self.path}: series {name or self.label!r} has one row, which has"
                    " no step to the next; give that with data.frequency=..."
                )
            missing = n_steps - n_known
            ahead = after.times
            if missing:
                ahead = np.concatenate([ahead, following(seen, missing, self.step)])
        series = name or self.label
        self._check_ahead(series, times[-1], ahead, future)
        n_shown = 1 if self.shape.task == "every_step" else n_steps
        where = f"data.path={self.path}: series {series!r}: "
        return ForecastWindow(
            series,
            values,
            times,
            ahead[-n_shown:],
            known[-n_shown:],
            future,
            ahead,
            encode_static(self.static, static, where),
            int(n_filled.sum()),
        )

    def _check_ahead(
        self, series: str, cutoff: Any, times: NDArray[Any], future: NDArray[np.float64]
    ) -> None:
        """Check that what is known ahead is there in each row that is forecast."""
        for step, column in np.argwhere(np.isnan(future))[:1]:
            (last,), (at,) = written(np.array([cutoff]), times[step : step + 1])
            raise UsageError(
                f"data.path={self.path}: the forecast of series {series!r} from {last} on needs"
                f" data.future in all of the next {self.shape.horizon} rows, and at {at} there is"
                f" no {self.future[column]!r}; add these rows, with the columns that are known"
                " ahead filled in and the others empty."
            )


def _with_whole_numbers(windows: list[ForecastWindow]) -> list[ForecastWindow]:
    """Write times that are whole numbers without a point, if all are."""
    past = [window.past_times for window in windows]
    times = as_whole_numbers(*past, *(window.times for window in windows))
    return [
        replace(window, past_times=before, times=after)
        for window, before, after in zip(
            windows, times[: len(windows)], times[len(windows) :], strict=True
        )
    ]
