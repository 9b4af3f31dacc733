"""Cuts the windows to forecast from out of blocks of rows, and keeps no other rows.

Of each series only the last rows are kept while the blocks pass: as many as the window of a cutoff
may still need, or the step of the series takes to be seen, and those that tell what came after it.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.blocks import Block
from gru_parallel.data.calendar_features import check_calendar
from gru_parallel.data.cutoffs import read_cutoffs
from gru_parallel.data.following_times import following
from gru_parallel.data.forecast_window import ForecastWindow
from gru_parallel.data.gaps import repeated
from gru_parallel.data.static import Static, StaticColumn, is_mark
from gru_parallel.data.stretch import Stretch
from gru_parallel.data.window_builder import N_TIMES, Cut, WindowBuilder
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.errors import DataWarning, UsageError


@dataclass
class _Tail:
    """The last rows of a series, and the windows that have been cut.

    Attributes:
        kept: the last rows.
        n_rows: that there were.
        n_cut: number of cutoffs that have been dealt with.
        static: what describes the series, as far as its rows have told.
        has_number: whether each column that is not known ahead has held one.
        cuts: where there are windows to forecast from.
    """

    kept: Stretch | None = None
    n_rows: int = 0
    n_cut: int = 0
    static: dict[str, float | str] = field(default_factory=dict)
    has_number: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(1, dtype=bool))
    cuts: list[Cut] = field(default_factory=list)


class Tails:
    """The windows to forecast from: at the end of each series, or at cutoffs.

    Args:
        shape: extent of a window.
        target_columns: positions of the columns to forecast.
        columns: names of all columns, for messages.
        mean: of each column, for gaps before its first value.
        cutoffs: as on the command line, the last moments that are known to a forecast; empty for
            the end of each series.
        path: of the file, for messages.
        label: names the series where there is only one.
        frequency: the user's data.frequency.
        missing: the user's data.missing.
        future: names of the columns that are known ahead, the last ones.
        calendar: what goes in of the date of each row.
        static: how what describes a series becomes numbers.
    """

    def __init__(
        self,
        shape: WindowShape,
        target_columns: Sequence[int],
        mean: NDArray[np.float64],
        *,
        columns: Sequence[str],
        cutoffs: Sequence[Any] = (),
        path: Path,
        label: str,
        frequency: str | None = None,
        missing: str = "error",
        future: Sequence[str] = (),
        calendar: Sequence[str] = (),
        static: Sequence[StaticColumn] = (),
    ) -> None:
        self._builder = WindowBuilder(
            shape=shape,
            n_targets=len(target_columns),
            mean=mean,
            path=path,
            label=label,
            frequency=frequency,
            missing=missing,
            future=future,
            static=static,
        )
        self._columns = columns
        self._calendar = calendar
        self._shape = shape
        self._n_past = max(shape.input_length, N_TIMES)
        self._targets = list(target_columns)
        self._mean = mean
        self._given_cutoffs = cutoffs
        self._cutoffs: NDArray[Any] | None = None
        self._path = path
        self._missing = missing
        self._tails: dict[str, _Tail] = {}

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
            UsageError: the cutoffs are not of the kind of the times, there are no dates for a
                calendar, a row lacks its values, or the series is described in two ways.
        """
        tail = self._tails.setdefault(block.series, _Tail())
        self._describe(tail, block)
        stretch = self._stretch(block, tail)
        if self._cutoffs is None:
            check_calendar(self._calendar, block.times, f"data.path={self._path}: ")
            if block.times is not None:
                self._builder = replace(self._builder, time_column=block.time_column or "time")
            self._cutoffs = read_cutoffs(self._given_cutoffs, stretch.times)
        kept = stretch if tail.kept is None else tail.kept.then(stretch)
        kept = self._without_gaps(kept, block.series)
        n_rows, n_after = kept.n_past, self._shape.horizon
        for cutoff in self._cutoffs[tail.n_cut :]:
            end = int(np.searchsorted(kept.times[:n_rows], cutoff, side="right"))
            if end + n_after > n_rows:
                break
            self._cut(tail, kept, end)
        tail.kept = kept.part(n_rows - self._n_past - n_after, len(kept))

    def windows(self) -> list[ForecastWindow]:
        """Cut what is left once all rows have passed.

        Returns:
            The windows, series after series in the order in which they first appeared.

        Raises:
            UsageError: there is nothing to forecast, rows are missing and not to be filled, or
                what is known ahead is not there.
        """
        found: list[tuple[str, Static, Cut]] = []
        short, early = [], []
        for name, tail in self._tails.items():
            kept = tail.kept
            if kept is None or self._cutoffs is None:
                continue
            past = kept.part(0, kept.n_past)
            for cutoff in self._cutoffs[tail.n_cut :]:
                end = int(np.searchsorted(past.times, cutoff, side="right"))
                if self._ends_before(past, cutoff):
                    early.append(name)
                else:
                    self._cut(tail, kept, end)
            if not len(self._cutoffs):
                self._cut(tail, kept, len(past))
            if tail.cuts:
                self._check_numbers(tail, name)
            for cut in tail.cuts:
                if self._builder.is_long_enough(name, cut):
                    found.append((name, tail.static, cut))
                else:
                    short.append(name)
        self._report(short, early, bool(found))
        return self._builder.windows(found)

    def _describe(self, tail: _Tail, block: Block) -> None:
        """Take what a block tells of its series."""
        for name, value in block.static.items():
            before = tail.static.setdefault(name, value)
            if is_mark(before):
                # It counts for nothing where another row tells.
                tail.static[name] = before = value
            if before != value and not is_mark(value):
                raise UsageError(
                    f"data.path={self._path}: series {block.series!r}: column {name!r} holds"
                    f" {before} in some rows and {value} in others; data.static is the same in"
                    " all rows of a series: correct it."
                )

    def _stretch(self, block: Block, tail: _Tail) -> Stretch:
        """Bring a block into the form in which rows are kept, and count them."""
        n_before, tail.n_rows = tail.n_rows, tail.n_rows + len(block.rows)
        times = np.arange(n_before, tail.n_rows) if block.times is None else block.times
        values, n_channels = block.values, self._builder.n_channels
        is_number = ~np.isnan(values[:, :n_channels])
        has_values = np.asarray(is_number.any(axis=1))
        tail.has_number = tail.has_number | is_number.any(axis=0)
        if np.isnan(values).any():
            known = tail.kept is not None and len(tail.kept)
            values = repeated(values, tail.kept.values[-1] if known and tail.kept else self._mean)
            # What is known ahead is said, and not filled in.
            values[~has_values, n_channels:] = block.values[~has_values, n_channels:]
        came, n_filled = block.values[:, self._targets], (~is_number).sum(axis=1)
        return Stretch(block.rows, times, values, came, has_values, n_filled)

    def _check_numbers(self, tail: _Tail, series: str) -> None:
        """Check that no column is made up throughout, as in training."""
        for column, has_number in zip(self._columns, tail.has_number, strict=False):
            if not has_number:
                of_series = f"series {series!r}: " if series else ""
                raise UsageError(
                    f"data.path={self._path}: {of_series}column {column!r} holds no number, so"
                    " nothing tells what to fill in; give its values."
                )

    def _without_gaps(self, rows: Stretch, series: str) -> Stretch:
        """Treat rows without values as gaps where rows with values follow them."""
        is_gap, n_rows = rows.is_gap, rows.n_past
        if not is_gap.any():
            return rows
        if self._missing == "drop":
            return rows.at(~is_gap)
        # Without columns known ahead, what reads the rows has refused gaps that it does not allow.
        if self._missing == "error" and self._builder.future:
            of_series = f"series {series!r}: " if series else ""
            raise UsageError(
                f"data.path={self._path}: {of_series}row {rows.rows[is_gap.argmax()]} has no"
                f" values, and row {rows.rows[n_rows - 1]} after it has; correct it, or set"
                " data.missing=interpolate or data.missing=drop."
            )
        past, ahead = rows.part(0, n_rows), rows.part(n_rows, len(rows))
        filled = repeated(past.values, self._mean)
        return replace(past, values=filled, has_values=np.full(n_rows, True)).then(ahead)

    def _cut(self, tail: _Tail, kept: Stretch, end: int) -> None:
        past = kept.part(end - self._n_past, end)
        after = kept.part(end, end + self._shape.horizon)
        tail.cuts.append(Cut(past, after, tail.n_rows - (len(kept) - end)))
        tail.n_cut += 1

    def _ends_before(self, kept: Stretch, cutoff: Any) -> bool:
        """Whether rows between the last one and the cutoff are missing."""
        if len(kept) < 2 or cutoff <= kept.times[-1]:
            return False
        return bool(cutoff >= following(kept.times, 1, self._builder.step)[0])

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
            problems.append(f"{_named(early, 'ends', 'end')} before the cutoffs")
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


def _named(
    series: Sequence[str], one_does: str = "has", several_do: str = "have", n_shown: int = 3
) -> str:
    """Say which series have or do something, at most a few by name."""
    names = list(dict.fromkeys(series))
    if names == [""]:
        return f"the series {one_does}"
    shown = ", ".join(map(repr, names[:n_shown]))
    if len(names) == 1:
        return f"series {shown} {one_does}"
    return f"{len(names)} series ({shown}{', ...' if len(names) > n_shown else ''}) {several_do}"
