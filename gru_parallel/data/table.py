"""A series as the rest of the package sees it, and how to make several from arrays in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gru_parallel.data.columns import choose_columns
from gru_parallel.data.static import Static
from gru_parallel.data.table_arrays import read_times, read_values, read_weight
from gru_parallel.errors import UsageError


@dataclass(frozen=True)
class Table:
    """A series in memory, oldest row first.

    Whatever numpy makes such an array of will do, and a list for a tuple.

    Attributes:
        times: time of each row, ascending, array of datetime64 or of numbers and of shape
            `(rows,)`; None where the series has none.
        values: array of float64 and of shape `(rows, columns)`, finite, or NaN for a gap that is
            filled once the parts are known.
        columns: name of each column of `values`.
        targets: names of the columns to forecast, a subset of `columns`.
        name: of the series among others; empty where there is only one.
        future: names of the columns that are known ahead: the last of `columns`, and no targets.
        static: what describes the series, numbers and words by name.
        weight: how much each row counts in the loss, array of shape `(rows,)`, none below 0; None
            where all count alike.
        source: where it comes from, as messages begin: "data.path=a.csv"; may be empty.

    Raises:
        UsageError: one of these is not so.
    """

    times: NDArray[Any] | None
    values: NDArray[np.float64]
    columns: tuple[str, ...]
    targets: tuple[str, ...]
    name: str = ""
    future: tuple[str, ...] = ()
    static: Static = field(default_factory=dict)
    weight: NDArray[np.float64] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        """Check that all of it is valid and fits, and make arrays and tuples of what is given."""
        try:
            self._read()
        except UsageError as error:
            raise UsageError(f"{self.where}{error}") from error

    def _read(self) -> None:
        columns, targets = choose_columns(self.columns, columns=self.columns, targets=self.targets)
        values = read_values("values", self.values, columns)
        future: str | Sequence[str] = self.future
        read = {
            "columns": columns,
            "targets": targets,
            "future": (future,) if isinstance(future, str) else tuple(future),
            "values": values,
            "times": None if self.times is None else read_times(self.times, len(values)),
            "weight": None if self.weight is None else read_weight(self.weight, len(values)),
        }
        for name, value in read.items():
            object.__setattr__(self, name, value)
        own = self.columns[: self.n_channels]
        if (*own, *self.future) != self.columns or not set(self.targets) <= set(own):
            raise UsageError(
                f"future={list(self.future)} are to be the last of the columns"
                f" {', '.join(self.columns)}, and no targets ({', '.join(self.targets)}); give the"
                " columns in this order."
            )

    @property
    def where(self) -> str:
        """What a message about the series begins with: "data.path=a.csv: series 'x': "."""
        series = f"series {self.name!r}" if self.name else ""
        return "".join(f"{part}: " for part in (self.source, series) if part)

    @property
    def n_rows(self) -> int:
        """Number of rows, one per time step."""
        return len(self.values)

    @property
    def n_channels(self) -> int:
        """Number of columns that are not known ahead; they come first."""
        return len(self.columns) - len(self.future)

    @property
    def target_columns(self) -> tuple[int, ...]:
        """Position of each target among the columns."""
        return tuple(self.columns.index(target) for target in self.targets)


def without_rows_ahead(table: Table) -> Table:
    """Leave out the rows after the last one with a value, which have only what is known ahead."""
    has_values = np.asarray(~np.isnan(table.values[:, : table.n_channels]).all(axis=1))
    n_rows = n_past(has_values) if table.future else table.n_rows
    if n_rows == table.n_rows:
        return table
    times, weight = (None if of is None else of[:n_rows] for of in (table.times, table.weight))
    return replace(table, times=times, values=table.values[:n_rows], weight=weight)


def n_past(has_values: NDArray[Any]) -> int:
    """Return the number of rows up to the last one that has a value, as is told of each row."""
    with_values = np.flatnonzero(has_values)
    return int(with_values[-1]) + 1 if len(with_values) else 0


def tables_from_arrays(
    arrays: Sequence[ArrayLike],
    columns: Sequence[str] | None = None,
    targets: str | Sequence[str] | None = None,
) -> list[Table]:
    """Make tables of several series that are in memory; they may differ in length.

    Args:
        arrays: the series, each of shape `(its rows, columns)`, oldest row first.
        columns: names of the columns; None calls them x0, x1, ...
        targets: the column or columns to forecast; None takes all.

    Returns:
        One table per series, named 0, 1, ... where there are several.

    Raises:
        UsageError: there is no array, or one that does not fit or holds a value that is not finite.
    """
    arrays = list(arrays)
    if not arrays:
        raise UsageError("arrays=[] holds no series; give at least one array.")
    if columns is None:
        columns = [
            f"x{column}" for column in range(np.shape(arrays[0])[-1] if np.ndim(arrays[0]) else 0)
        ]
    series = [
        read_values(f"arrays[{number}]", array, columns, may_have_gaps=False)
        for number, array in enumerate(arrays)
    ]
    chosen, wanted = choose_columns(columns, columns=columns, targets=targets)
    names = map(str, range(len(series))) if len(series) > 1 else [""]
    return [
        Table(None, values, chosen, wanted, name)
        for values, name in zip(series, names, strict=True)
    ]
