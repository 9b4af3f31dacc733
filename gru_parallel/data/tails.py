"""Cuts the windows to forecast from out of blocks of rows, and keeps no other rows.

Of each series only the last rows are kept while the blocks pass: as many as the window of a cutoff
may still need, and those that tell what came after it.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gru_parallel.data.blocks import Block
from gru_parallel.data.cutoffs import read_cutoffs
from gru_parallel.data.following_times import following
from gru_parallel.data.forecast_window import ForecastWindow
from gru_parallel.data.frequency import UNCHECKED, evenly_spaced, warn_of_gaps
from gru_parallel.data.gaps import repeated
from gru_parallel.data.rows import Rows
from gru_parallel.data.sheet import Sheet
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.errors import DataWarning, UsageError


@dataclass(frozen=True)
class _Stretch:
    """Consecutive rows of a series.

    Attributes:
        rows: number of each row in its file, array of shape `(rows,)`.
        times: of the same shape.
        values: without gaps, array of shape `(rows, columns)`.
        came: the targets as they are in the file, NaN for a gap, array of shape `(rows, targets)`.
    """

    rows: NDArray[np.int64]
    times: NDArray[Any]
    values: NDArray[np.float64]
    came: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, first: int, stop: int) -> "_Stretch":
        of = slice(max(first, 0), stop)
        return _Stretch(self.rows[of], self.times[of], self.values[of], self.came[of])

    def then(self, after: "_Stretch") -> "_Stretch":
        pairs = zip(vars(self).values(), vars(after).values(), strict=True)
        return _Stretch(*(np.concatenate(pair) for pair in pairs))


@dataclass
class _Tail:
    """The last rows of a series, and the windows that have been cut.

    Attributes:
        kept: the last rows.
        n_rows: that there were.
        n_cut: number of cutoffs that have been dealt with.
        cuts: for each window, its rows, and the rows that came after it.
    """

    kept: _Stretch | None = None
    n_rows: int = 0
    n_cut: int = 0
    cuts: list[tuple[_Stretch, _Stretch]] = field(default_factory=list)


class Tails:
    """The windows to forecast from: at the end of each series, or at cutoffs.

    Args:
        shape: extent of a window.
        target_columns: positions of the columns to forecast.
        mean: of each column, for gaps before its first value.
        cutoffs: as on the command line, the last moments that are known to a forecast; empty for
            the end of each series.
        path: of the file, for messages.
        label: names the series where there is only one.
        frequency: the user's data.frequency.
        missing: the user's data.missing.
    """

    def __init__(
        self,
        shape: WindowShape,
        target_columns: Sequence[int],
        mean: NDArray[np.float64],
        *,
        cutoffs: Sequence[Any] = (),
        path: Path,
        label: str,
        frequency: str | None = None,
        missing: str = "error",
    ) -> None:
        self._shape = shape
        self._targets = list(target_columns)
        self._mean = mean
        self._given_cutoffs = cutoffs
        self._cutoffs: NDArray[Any] | None = None
        self._path = path
        self._label = label
        self._frequency = None if frequency == UNCHECKED else frequency
        self._warns = frequency is None
        self._missing = missing
        self._tails: dict[str, _Tail] = {}
        self._has_times = False
        self._time_column = "time"

    @property
    def n_series(self) -> int:
        """Number of series that had rows."""
        return len(self._tails)

    @property
    def n_kept(self) -> int:
        """Number of rows that are kept now, besides those of windows that have been cut."""
        return sum(len(tail.kept) for tail in self._tails.values() if tail.kept is not None)

    def add(self, block: Block) -> None:
        """Take the next rows of a series.

        Raises:
            UsageError: the cutoffs are not of the kind of the times.
        """
        tail = self._tails.setdefault(block.series, _Tail())
        stretch = self._stretch(block, tail)
        if self._cutoffs is None:
            self._has_times = block.times is not None
            self._time_column = block.time_column or self._time_column
            self._cutoffs = read_cutoffs(self._given_cutoffs, stretch.times)
        kept = stretch if tail.kept is None else tail.kept.then(stretch)
        n_after = self._shape.horizon
        for cutoff in self._cutoffs[tail.n_cut :]:
            end = int(np.searchsorted(kept.times, cutoff, side="right"))
            if end + n_after > len(kept):
                break
            self._cut(tail, kept, end)
        tail.kept = kept.part(len(kept) - self._shape.input_length - n_after, len(kept))

    def windows(self) -> list[ForecastWindow]:
        """Cut what is left once all rows have passed.

        Returns:
            The windows, series after series in the order in which they first appeared.

        Raises:
            UsageError: there is nothing to forecast, or rows are missing and not to be filled.
        """
        short, early = [], []
        for name, tail in self._tails.items():
            kept = tail.kept
            if kept is None or self._cutoffs is None:
                continue
            for cutoff in self._cutoffs[tail.n_cut :]:
                end = int(np.searchsorted(kept.times, cutoff, side="right"))
                if self._ends_before(kept, cutoff):
                    early.append(name)
                else:
                    self._cut(tail, kept, end)
            if not len(self._cutoffs):
                self._cut(tail, kept, len(kept))
            if any(len(rows) < self._shape.shortest for rows, _ in tail.cuts):
                short.append(name)
        found = [
            (name, *cut)
            for name, tail in self._tails.items()
            for cut in tail.cuts
            if len(cut[0]) >= self._shape.shortest
        ]
        self._report(short, early, bool(found))
        if self._warns:
            self._warn_of_gaps(found)
        return _with_whole_numbers([self._window(*each) for each in found])

    def _stretch(self, block: Block, tail: _Tail) -> _Stretch:
        """Bring a block into the form in which rows are kept, and count them."""
        n_before, tail.n_rows = tail.n_rows, tail.n_rows + len(block.rows)
        times = np.arange(n_before, tail.n_rows) if block.times is None else block.times
        values = block.values
        if np.isnan(values).any():
            known = tail.kept is not None and len(tail.kept)
            values = repeated(values, tail.kept.values[-1] if known and tail.kept else self._mean)
        return _Stretch(block.rows, times, values, block.values[:, self._targets])

    def _cut(self, tail: _Tail, kept: _Stretch, end: int) -> None:
        rows = kept.part(end - self._shape.input_length, end)
        tail.cuts.append((rows, kept.part(end, end + self._shape.horizon)))
        tail.n_cut += 1

    def _ends_before(self, kept: _Stretch, cutoff: Any) -> bool:
        """Whether rows between the last one and the cutoff are missing."""
        if len(kept) < 2 or cutoff <= kept.times[-1]:
            return False
        return bool(cutoff >= following(kept.times, 1, self._frequency)[0])

    def _report(self, short: Sequence[str], early: Sequence[str], is_any: bool) -> None:
        """Warn of series that are left out; refuse to go on with none."""
        setting = "min_input_length" if self._shape.may_be_short else "input_length"
        at = " before the cutoffs" if self._given_cutoffs else ""
        problems = []
        if short:
            problems.append(
                f"{_named(short)} fewer than data.{setting}={self._shape.shortest} rows{at}"
            )
        if early:
            problems.append(f"{_named(early)} no rows up to the cutoffs")
        if not is_any:
            problem = " and ".join(problems) or "there are no rows"
            raise UsageError(
                f"data.path={self._path}: there is nothing to forecast from: {problem}; give more"
                " rows, or other cutoffs."
            )
        for problem in problems:
            warnings.warn(
                f"data.path={self._path}: {problem}, and no forecast is made there.",
                DataWarning,
                stacklevel=3,
            )

    def _rows(self, name: str, stretch: _Stretch) -> Rows:
        """The rows of a window as messages know them."""
        column = self._time_column if self._has_times else None
        frame = pd.DataFrame({self._time_column: stretch.times}, index=stretch.rows)
        sheet = Sheet(self._path, frame, 0, series=name)
        times = stretch.times if self._has_times else None
        return Rows(sheet, np.arange(len(stretch)), stretch.values, times, column)

    def _warn_of_gaps(self, found: Iterable[tuple[str, _Stretch, _Stretch]]) -> None:
        # Most windows are even, which is quickly seen.
        uneven = [
            self._rows(name, rows)
            for name, rows, _ in found
            if len(set(np.diff(rows.times if self._has_times else rows.rows).tolist())) > 1
        ]
        if uneven:
            warn_of_gaps(uneven, self._missing)

    def _window(self, name: str, rows: _Stretch, after: _Stretch) -> ForecastWindow:
        values, times = rows.values, rows.times
        n_steps = self._shape.horizon
        known = np.full((n_steps, len(self._targets)), np.nan)
        if self._frequency is not None and self._has_times:
            even = evenly_spaced(self._rows(name, rows), self._frequency, self._missing)
            assert even.times is not None
            n = self._shape.input_length
            values, times = repeated(even.numbers, self._mean)[-n:], even.times[-n:]
            ahead = following(times, n_steps, self._frequency)
            at = np.searchsorted(after.times, ahead)
            for step, row in enumerate(at):
                if row < len(after) and after.times[row] == ahead[step]:
                    known[step] = after.came[row]
        else:
            n_known = len(after)
            known[:n_known] = after.came
            seen = np.concatenate([times, after.times])
            if n_known < n_steps and len(seen) < 2:
                raise UsageError(
                    f"data.path={self._path}: series {name or self._label!r} has one row, which has"
                    " no step to the next; give that with data.frequency=..."
                )
            missing = n_steps - n_known
            ahead = after.times
            if missing:
                ahead = np.concatenate([ahead, following(seen, missing)])
        if self._shape.task == "every_step":
            ahead, known = ahead[-1:], known[-1:]
        return ForecastWindow(name or self._label, values, times, ahead, known)


def _with_whole_numbers(windows: list[ForecastWindow]) -> list[ForecastWindow]:
    """Write times that are whole numbers without a point, if all are."""
    kind = windows[0].times.dtype
    if not np.issubdtype(kind, np.floating):
        return windows
    if not all(_are_whole(each) for w in windows for each in (w.past_times, w.times)):
        return windows
    return [
        replace(
            window,
            past_times=window.past_times.astype(np.int64),
            times=window.times.astype(np.int64),
        )
        for window in windows
    ]


def _are_whole(numbers: NDArray[Any]) -> bool:
    return bool((np.floor(numbers) == numbers).all())


def _named(series: Sequence[str], n_shown: int = 3) -> str:
    """Say which series have something, at most a few by name."""
    names = list(dict.fromkeys(series))
    if names == [""]:
        return "the series has"
    shown = ", ".join(map(repr, names[:n_shown]))
    if len(names) == 1:
        return f"series {shown} has"
    return f"{len(names)} series ({shown}{', ...' if len(names) > n_shown else ''}) have"
