"""From a finished run to the data of its backtest: what each fit is trained on and forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gru_parallel.assembly.data import build_data, build_tables, with_validation
from gru_parallel.assembly.own_data import recognise
from gru_parallel.assembly.reuse import Reuse, parts_to_test
from gru_parallel.data import SeriesDataModule
from gru_parallel.data.forecasts import times_of, written
from gru_parallel.data.origins import Rolling, refits, roll
from gru_parallel.data.parts import Parts, SeriesPart, all_for_test, check_alike, split_tables
from gru_parallel.data.streams import check_stride
from gru_parallel.data.table import Table
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.errors import UsageError
from gru_parallel.own_names import head_task


@dataclass(frozen=True)
class BacktestData:
    """The series of a backtest, and which rows each of its fits is about.

    Attributes:
        tables: the series.
        rolled: rows of each series that is forecast, with the ends of its windows.
        fits: the parts of each fit, in their order; without refits one, which is not trained
            but has the training part that its errors are scaled by.
        stride: rows from one origin to the next.
    """

    tables: Sequence[Table]
    rolled: Sequence[SeriesPart]
    fits: Sequence[Parts]
    stride: int

    @property
    def n_origins(self) -> int:
        """Of all series."""
        return sum(len(part.ends or ()) for part in self.rolled)

    def first_and_last(self, forecast: Sequence[SeriesPart]) -> tuple[str, str]:
        """Return the earliest and the latest cutoff of parts that are forecast."""
        ends = [part.ends for part in forecast if part.ends is not None]
        cutoffs = np.array([row - 1 for each in ends for row in (each[0], each[-1])])
        times = times_of(self.tables, cutoffs)
        ((first, last),) = written(np.array([times.min(), times.max()]))
        return first, last

    def of(self, parts: Parts, using: Reuse, *, refit: bool, pin_memory: bool) -> SeriesDataModule:
        """Make the windows of one fit.

        Args:
            parts: of the fit.
            using: the run.
            refit: whether a model is trained on them, and their scaling is their own.
            pin_memory: whether batches are put into pinned memory.

        Raises:
            UsageError: the series are too short for that.
        """
        return build_data(
            using.config,
            SeriesDataModule,
            using.share.index,
            pin_memory,
            tables=self.tables,
            parts=parts,
            eval_stride=self.stride,
            record=None if refit else using.run.record,
        )


def plan_backtest(
    using: Reuse, stride: int | None, start: str | None, n_origins: int | None, refit: int
) -> BacktestData:
    """Load the series of a backtest, and say from where they are forecast.

    Without refits, only rows that the run was not trained on are forecast: its test part, the test
    part of other data if data.split is given, or else all of it. With refits, any row that has
    enough rows before it for training.

    Args:
        using: the run, with the settings of the data.
        stride: rows from one origin to the next; None for the horizon, or with data.order=streams
            for the length of a window, along which states are carried.
        start: see `Rolling`; None with refits, and without `n_origins`, for the first origin of the
            test part.
        n_origins: see `Rolling`.
        refit: origins from one fit to the next; 0 for no refits.

    Raises:
        UsageError: there is nothing to forecast, or nothing to train on, or without refits the data
            is said to be that of the run and has changed since.
    """
    config = using.config
    data = config.data
    shape = WindowShape(
        data.input_length, data.horizon, head_task(config.model.head), data.min_input_length
    )
    in_streams = data.order == "streams"
    if stride is None:
        stride = data.input_length if in_streams else data.horizon
    if in_streams:
        check_stride("stride", stride, shape)
    tables = build_tables(config, using.run.columns_of, weighted=refit > 0)
    # Their times are compared.
    check_alike(tables)
    rolling = Rolling(stride, start, n_origins)
    if not refit:
        run = recognise(using.run, tables)
        tested: Parts = parts_to_test(run, tables)
        rolled = roll(tables, tested["test"], shape, rolling)
        # Errors are scaled by the training part, of which no windows are needed.
        known = tuple(replace(part, ends=range(0)) for part in tested["training"])
        parts: Parts = {"training": known, "validation": (), "test": rolled}
        return BacktestData(tables, rolled, (parts,), stride)
    if data.split_by == "series":
        raise UsageError(
            f"refit={refit} trains on the rows before each origin, and data.split_by=series tests"
            " series that were not trained on at all; leave refit out, or use data.split_by=time."
        )
    whole = all_for_test(tables)["test"]
    parts = split_tables(tables, data.split, data.split_by)
    is_open = start is None and n_origins is None
    if is_open and not parts["test"]:
        raise UsageError(
            f"{config.no_test} leaves no test part, where the origins would begin; give the first"
            " with start=..., or how many there are with n_origins=..."
        )
    rolled = roll(tables, parts["test"] if is_open else whole, shape, rolling)
    n_validation = {part.series_start: len(part.rows) for part in parts["validation"]}
    fits = refits(tables, rolled, n_validation, refit, shape)
    # A file to validate on is that of every fit.
    whole_tables, validation = with_validation(config, tables, {})
    return BacktestData(whole_tables, rolled, tuple({**fit, **validation} for fit in fits), stride)
