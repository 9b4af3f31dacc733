"""Series in outline: checked, and cut into parts, windows and batches, of which none is made.

Without torch, so that the plan of a run does not wait for it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gru_parallel.choices import COLUMN_SCALINGS
from gru_parallel.data.calendar_features import check_calendar
from gru_parallel.data.gaps import fill_gaps, filled_words
from gru_parallel.data.parts import Parts, SeriesPart, check_alike, check_sizes, named, split_tables
from gru_parallel.data.share import ALL_ROWS, Share
from gru_parallel.data.standardize import Standardizer
from gru_parallel.data.static import StaticColumn, encode_static, fit_static
from gru_parallel.data.streams import StreamRows, Streams, check_level, check_stride
from gru_parallel.data.table import Table
from gru_parallel.data.weights import check_some_count, mean_one
from gru_parallel.data.widths import Widths
from gru_parallel.data.window_ends import window_ends
from gru_parallel.data.window_shape import WindowShape, check_centre
from gru_parallel.errors import UsageError, check_positive

ORDERS = ("shuffled", "streams")

_N_EVALUATION_ROWS = 8
"""In evaluation, streams are cut to fill only so many rows: whole ones carry states furthest."""


class SeriesOutline:
    """The data of a forecasting run before a batch is made of it; `SeriesData` makes them."""

    def __init__(
        self,
        tables: Table | Sequence[Table],
        *,
        input_length: int,
        horizon: int,
        batch_size: int,
        split: Sequence[float] = (0.7, 0.1, 0.2),
        split_by: str = "time",
        min_input_length: int | None = None,
        order: str = "shuffled",
        stride: int = 1,
        eval_stride: int = 1,
        task: str = "window",
        scaling: str = "standardize",
        centre: str = "last",
        calendar: Sequence[str] = (),
        look_back: bool = True,
        season_length: int | None = None,
        seed: int = 0,
        num_workers: int = 0,
        pin_memory: bool = False,
        share: Share = ALL_ROWS,
        standardizer: Standardizer | None = None,
        mean: NDArray[np.float64] | None = None,
        static: Sequence[StaticColumn] | None = None,
        parts: Parts | None = None,
    ) -> None:
        """Check the settings against the series.

        Args:
            tables: the series, or several with the same columns and targets; gaps in them (NaN) are
                filled part by part, see `fill_gaps`. Without `parts` each is a series of its own,
                see `named`; with them, two of one name are parts of one series.
            input_length: number of input rows.
            horizon: rows ahead that are forecast.
            batch_size: windows per batch, in training and in evaluation.
            split: fractions or counts of the training, validation and test parts; 0 leaves out a
                validation or a test part, and with a `standardizer` a training part, too.
            split_by: "time" splits the rows of each series, "series" gives whole series to a part.
            min_input_length: number of input rows at least, where a series has only just begun;
                None for `input_length`.
            order: "shuffled", or "streams", in which each row continues the batch before, see
                above; that needs the centre "none".
            stride: rows from one training window to the next.
            eval_stride: the same for validation, test and prediction.
            task: "window" or "every_step", see `WindowShape`.
            scaling: "standardize" brings each column to mean 0 and deviation 1, "none" leaves it.
            centre: "last", "standardize", "scale" or "none", see `WindowDataset`.
            calendar: what goes in of the date of each row, see `calendar_features`.
            look_back: whether inputs of a validation or test window may be in the part before.
            season_length: rows of a season, for the seasonal baseline; None for none.
            seed: of the order of training windows, not negative.
            num_workers: processes that fetch batches; 0 fetches in this one, which is fast.
            pin_memory: whether batches are put into pinned memory, for copies to a GPU.
            share: the rows of each batch that the loaders return, for one of several replicas.
            standardizer: of the run whose model is used on this data; None fits one to the training
                part.
            mean: of each column in the training part of that run, for gaps before the first value
                where there are no rows for training; None for that of the `standardizer`.
            static: how that run turned what describes a series into numbers; None looks at the
                series of the training part.
            parts: the rows of each part, whatever the split; None for those of the split. Without
                rows for training a `standardizer` is needed.

        Raises:
            UsageError: a setting is not valid, or does not fit the series.
        """
        super().__init__()
        check_positive("data.batch_size", batch_size)
        share.rows(batch_size)
        check_positive("data.eval_stride", eval_stride)
        if season_length is not None:
            check_positive("data.season_length", season_length)
        check_centre(centre, task)
        if scaling not in COLUMN_SCALINGS:
            choices = ", ".join(COLUMN_SCALINGS)
            raise UsageError(f"data.scaling={scaling} is unknown; use one of {choices}.")
        if order not in ORDERS:
            raise UsageError(f"data.order={order} is unknown; use one of {', '.join(ORDERS)}.")
        given = (tables,) if isinstance(tables, Table) else tuple(tables)
        # A series may have come in two files, one for each of its parts.
        self.tables = named(given) if parts is None else given
        check_alike(self.tables)
        for table in self.tables:
            check_calendar(calendar, table.times, table.where)
        self.shape = WindowShape(input_length, horizon, task, min_input_length)
        if parts is None:
            parts = split_tables(self.tables, split, split_by, trains=standardizer is None)
        self.parts = parts
        self.calendar = tuple(calendar)
        self._starts = np.cumsum([0, *(table.n_rows for table in self.tables[:-1])]).tolist()
        self.static = self._fit_static() if static is None else tuple(static)
        self._static = self._encoded(self.static)
        self.weight = mean_one([table.weight for table in self.tables], self.parts["training"])
        self.order = order
        self.season_length = season_length
        self.batch_size = batch_size
        self.share = share
        self._given_standardizer = standardizer
        self._seed = seed
        self._scaling = scaling
        self._centre = centre
        self._look_back = look_back
        self._num_workers = num_workers
        self._pin_memory = pin_memory
        self._strides = {"training": stride, "validation": eval_stride, "test": eval_stride}
        ends = {
            part: [
                window_ends(self.shape, of_series, part, stride_of_part, look_back)
                for of_series in self.parts[part]
            ]
            for part, stride_of_part in self._strides.items()
        }
        self._n_windows = {part: list(map(len, of_series)) for part, of_series in ends.items()}
        if self.weight is not None:
            check_some_count(self.weight, ends, self.shape)
        values = joined([table.values for table in self.tables])
        check_sizes(self.tables, values)
        if mean is None and standardizer is not None:
            mean = standardizer.mean
        of_run = None if self.parts["training"] else mean
        self._filled = {part: _n_gaps(values, self.parts[part]) for part in self._strides}
        self._values = fill_gaps(values, self.tables[0].columns, self.parts, of_run)
        if order == "streams":
            check_level(centre)
            check_stride("data.stride", stride, self.shape)
            check_stride("data.eval_stride", eval_stride, self.shape)

    @property
    def widths(self) -> Widths:
        """How many numbers go in with each row, and how many are forecast."""
        table = self.tables[0]
        n_known = len(table.future) + len(self.calendar)
        n_static = sum(column.width for column in self.static)
        return Widths(table.n_channels, self.n_targets, n_known, n_static)

    @property
    def n_targets(self) -> int:
        """Number of columns to forecast."""
        return len(self.tables[0].targets)

    @property
    def n_steps(self) -> int:
        """Number of steps ahead that are forecast: the horizon, or at every step the one."""
        return self.shape.horizon if self.shape.task == "window" else 1

    @property
    def words(self) -> str:
        """What a person should know about these series; may be empty."""
        lines = (
            filled_words(n_filled, n_values, f"the {part} part")
            for part, (n_filled, n_values) in self._filled.items()
        )
        return "\n".join(filter(None, lines))

    def n_batches(self, part: str) -> int:
        """Number of batches of all replicas that the "training", "validation" or "test" part has.

        In training, in each epoch.
        """
        n_windows = self._n_windows[part]
        if not n_windows:
            return 0
        if self.order == "shuffled":
            return -(-sum(n_windows) // self.batch_size)
        streams = Streams.of(np.array(n_windows), self.shape, self._strides[part])
        rows = StreamRows.of(streams.cut(self._n_filled(part)), self.batch_size)
        return len(rows.batch_ends)

    def _fit_static(self) -> tuple[StaticColumn, ...]:
        """Look at what describes the series of the training part."""
        tables = dict(zip(self._starts, self.tables, strict=True))
        return fit_static([tables[part.series_start].static for part in self.parts["training"]])

    def _encoded(self, static: Sequence[StaticColumn]) -> dict[int, NDArray[np.float64]]:
        """Turn what describes each series into numbers, by its first row.

        A series of which no part has any row may hold a word that is not known.
        """
        used = {part.series_start for of_part in self.parts.values() for part in of_part}
        return {
            start: encode_static(static, table.static, table.where)
            for start, table in zip(self._starts, self.tables, strict=True)
            if start in used
        }

    def _n_filled(self, part: str) -> int:
        """Number of rows that streams are cut to fill."""
        return self.batch_size if part == "training" else min(_N_EVALUATION_ROWS, self.batch_size)


def joined(arrays: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Join the rows of arrays."""
    # One array is not copied: numpy would sum another memory layout in another order.
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def rows_of(values: NDArray[np.float64], parts: Sequence[SeriesPart]) -> NDArray[np.float64]:
    """Return some rows of all series, one series after another.

    Args:
        values: of all series, array of shape `(rows, columns)`.
        parts: which rows, of each series that has any.
    """
    return joined([values[part.rows.start : part.rows.stop] for part in parts] or [values[:0]])


def _n_gaps(values: NDArray[np.float64], parts: Sequence[SeriesPart]) -> tuple[int, int]:
    """Return how many values are missing in some rows of all series, and of how many."""
    pieces = [values[part.rows.start : part.rows.stop] for part in parts]
    return sum(int(np.isnan(piece).sum()) for piece in pieces), sum(p.size for p in pieces)
