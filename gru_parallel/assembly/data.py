"""From the settings to the data of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gru_parallel.assembly.memory import check_series_memory
from gru_parallel.assembly.own_series import own_tables
from gru_parallel.choices import COUNTS
from gru_parallel.config.data_section import CsvConfig, DataConfig, OwnDataConfig
from gru_parallel.config.schema import Config
from gru_parallel.data.columns import OF_RUN
from gru_parallel.data.csv_format import CsvFormat
from gru_parallel.data.lorenz96 import lorenz96_table
from gru_parallel.data.parts import Parts, all_rows, split_tables
from gru_parallel.data.record import DataRecord
from gru_parallel.data.series_file import SeriesFile
from gru_parallel.data.series_outline import SeriesOutline
from gru_parallel.data.share import Share
from gru_parallel.data.table import Table, without_rows_ahead
from gru_parallel.errors import UsageError, of_setting
from gru_parallel.own_names import head_task
from gru_parallel.rules import as_written

Data = TypeVar("Data", bound=SeriesOutline)


def build_data(
    config: Config,
    kind: type[Data],
    replica: int = 0,
    pin_memory: bool = False,
    *,
    record: DataRecord | None = None,
    tables: Sequence[Table] | None = None,
    parts: Parts | None = None,
    eval_stride: int = 1,
) -> Data:
    """Load or generate the series and check that they yield windows.

    Args:
        config: the run's settings.
        kind: what to make of them: `SeriesOutline`, or `SeriesDataModule` for Lightning.
        replica: of the pipeline, whose share of each batch is wanted.
        pin_memory: whether batches are put into pinned memory, for copies to a GPU.
        record: of the run whose model is used on this data; None for a run of its own.
        tables: the series, where they have been loaded.
        parts: the rows of each part; None for those that data.split says.
        eval_stride: rows from one validation or test window to the next.

    Raises:
        UsageError: the file or a setting of the data cannot work.
    """
    data = config.data
    if tables is None:
        tables = build_tables(config, weighted=True)
    if parts is None and config.validation_path is not None:
        split = split_tables(tables, data.split, data.split_by)
        tables, parts = with_validation(config, tables, split)
    made = kind(
        tables,
        input_length=data.input_length,
        horizon=data.horizon,
        batch_size=data.batch_size,
        split=data.split,
        split_by=data.split_by,
        min_input_length=data.min_input_length,
        order=data.order,
        stride=data.stride,
        eval_stride=eval_stride,
        task=head_task(config.model.head),
        scaling=data.scaling,
        centre=data.centre,
        calendar=data.calendar or (),
        season_length=data.season_length,
        seed=config.seed,
        num_workers=data.num_workers,
        pin_memory=pin_memory,
        share=Share(replica, config.data_parallel),
        standardizer=None if record is None else record.standardizer,
        mean=None if record is None else record.training_mean,
        static=None if record is None else record.static,
        parts=parts,
    )
    if config.model.per_channel:
        _check_targets(made.tables[0])
    if config.model.loss == COUNTS:
        _check_counts(made.tables)
    _check_length(config, made)
    return made


def with_validation(
    config: Config, tables: Sequence[Table], parts: Parts
) -> tuple[Sequence[Table], Parts]:
    """Add the series of data.validation_path, if there is one, as the validation part.

    Args:
        config: the run's settings.
        tables: the series of data.path.
        parts: of these.

    Returns:
        All series, and the rows of each part.

    Raises:
        UsageError: the file cannot be read, or has other columns.
    """
    data = config.data
    if not isinstance(data, CsvConfig) or data.validation_path is None:
        return tables, parts
    first = tables[0]
    own = first.columns[: first.n_channels]
    named = replace(data, path=data.validation_path, columns=list(own), target=first.targets)
    weighted = first.weight is not None
    with of_setting("data.path", "data.validation_path"):
        added = build_tables(replace(config, data=named), OF_RUN, weighted=weighted)
    source = f"data.validation_path={data.validation_path}"
    added = [replace(table, source=source) for table in added]
    n_before = sum(table.n_rows for table in tables)
    return [*tables, *added], {**parts, "validation": all_rows(added, n_before)}


def _check_length(config: Config, data: SeriesOutline) -> None:
    """Check that the rows of a window can bring what is known of all rows to forecast."""
    shape = data.shape
    is_head_alone = config.n_decoding == 0 and shape.task == "window"
    if data.widths.n_known > 0 and is_head_alone and shape.horizon > shape.shortest:
        setting = "min_input_length" if shape.may_be_short else "input_length"
        raise UsageError(
            f"data.horizon={shape.horizon} exceeds data.{setting}={shape.shortest}, and with"
            f" model.head={config.model.head} what is known ahead (data.future, data.calendar)"
            " comes in with the row that is data.horizon rows before it; use model.head=decoder,"
            " or a longer window."
        )


def _check_targets(table: Table) -> None:
    """Check that every column is a target, as channels that are rows of their own have to be."""
    of_window = table.columns[: table.n_channels]
    if tuple(table.targets) != tuple(of_window):
        columns, targets = as_written(of_window), as_written(table.targets)
        raise UsageError(
            f"model.per_channel=true forecasts each column from its own past, and data.target="
            f"{targets} is not all of them in their order, {columns}; use data.target=null, or"
            f" data.columns={targets} too."
        )


def _check_counts(tables: Sequence[Table]) -> None:
    """Check that all targets are counts; what is missing is left aside."""
    for table in tables:
        values = table.values[:, list(table.target_columns)]
        is_other = (values < 0) | (values != np.floor(values)) & ~np.isnan(values)
        for row, target in np.argwhere(is_other)[:1]:
            whose = f" of series {table.name!r}" if table.name else ""
            raise UsageError(
                f"model.loss={COUNTS} is the likelihood of counts, whole numbers from 0 on, and"
                f" column {table.targets[target]!r}{whose} holds {values[row, target]:g} in row"
                f" {row}; use model.loss=normal or quantile."
            )


def build_tables(config: Config, columns_of: str = "", *, weighted: bool = False) -> list[Table]:
    """Load or generate the series.

    Args:
        config: the run's settings.
        columns_of: whose columns have to be found in a file, see `SeriesFile`.
        weighted: whether it is to be known how much each row counts in the loss.

    Raises:
        UsageError: the file or a setting of the data cannot work.
    """
    read = read_tables(config, columns_of, weighted=weighted)
    return [without_rows_ahead(table) for table in read]


def read_tables(config: Config, columns_of: str = "", *, weighted: bool = False) -> list[Table]:
    """Load or generate the series, and the rows ahead of them that a function returned.

    The arguments, and what is raised, are those of `build_tables`.
    """
    data = config.data
    targets = as_names(data.target)
    if isinstance(data, CsvConfig):
        # With pandas, which a series that is generated can do without.
        from gru_parallel.data.files import load_tables

        return load_tables(series_file(data, columns_of, weighted=weighted))
    if isinstance(data, OwnDataConfig):
        return own_tables(data, targets)
    check_series_memory(data.n_steps, data.n_channels)
    return [
        lorenz96_table(data.n_steps, data.n_channels, data.seed, targets, data.forcing, data.dt)
    ]


def series_file(data: CsvConfig, columns_of: str, *, weighted: bool = False) -> SeriesFile:
    """Say which file the series are in, and how it is to be read.

    Args:
        data: the settings.
        columns_of: see `build_tables`.
        weighted: see `build_tables`.

    Raises:
        UsageError: data.separator, data.decimal or data.thousands cannot work.
    """
    return SeriesFile(
        data.path,
        time_column=as_names(data.time_column),
        columns=data.columns,
        future=data.future or (),
        static=data.static or (),
        weight=data.weight if weighted else None,
        targets=as_names(data.target),
        missing=data.missing,
        series_column=data.series_column,
        frequency=data.frequency,
        csv_format=CsvFormat.read(data.separator, data.decimal, data.thousands),
        columns_of=columns_of,
        # A column of weights is none of the values, whether they are wanted or not.
        unused=() if data.weight is None else (data.weight,),
    )


def series_label(data: DataConfig) -> str:
    """Return the name of a series that has none of its own: that of its file or of what made it."""
    return Path(data.path).stem if isinstance(data, CsvConfig) else data.name


def as_names(given: Any) -> tuple[str, ...] | None:
    """Return the names that a setting gives, one or several; None for null."""
    if given is None:
        return None
    names = list(given) if isinstance(given, list | tuple) else [given]
    return tuple(str(name) for name in names)
