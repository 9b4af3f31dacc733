"""Tells whether series are those that a finished run was trained on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
from omegaconf import OmegaConf

from gru_parallel.assembly.data import build_tables
from gru_parallel.assembly.finished_run import ROWS, FinishedRun
from gru_parallel.config.read_section import read_section
from gru_parallel.data.gaps import fill_gaps
from gru_parallel.data.parts import Parts, SeriesPart, split_tables
from gru_parallel.data.record import PartRecord
from gru_parallel.data.series_outline import joined, rows_of
from gru_parallel.data.table import Table
from gru_parallel.errors import DataWarning, UsageError

Difference = tuple[str, str]
"""What a run had and what there is now, see `DataRecord.difference`."""


def recognise(run: FinishedRun, tables: Sequence[Table]) -> FinishedRun:
    """See whether series that overrides name are nevertheless those of the run.

    A file that was moved is, and so is one that is named once more. The model was trained on most
    of their rows, so the split of the run says which are tested. That is said by a warning, and so
    it is if other data begins with the rows that the model was trained on.

    Args:
        run: whose weights are tested, with the settings of the data.
        tables: the series.

    Returns:
        The run, with what was found.
    """
    if not run.tests_all:
        return run
    # With other settings of the rows it may still be the file that the model was trained on.
    readings = [tables, *_as_the_run_read(run)]
    are_own = [_are_own(run, each) for each in readings]
    said, is_own = "", any(are_own)
    # Without a test part, or with other rows, it is refused.
    if are_own[0] and run.record.parts["test"].n_rows:
        said = (
            f"The series are those that run={run.folder.path} was trained on, so only its test"
            " part is tested; data.split=... would test another."
        )
    elif not is_own and any(_begin_with_training(run, each) for each in readings):
        said = (
            f"The first {run.record.parts['training'].n_rows} rows are those that"
            f" run={run.folder.path} was trained on, and they are tested, too; set data.split to"
            " test newer ones alone."
        )
    if said:
        warnings.warn(said, DataWarning, stacklevel=2)
    return replace(run, is_recognised=is_own)


def _difference(run: FinishedRun, tables: Sequence[Table]) -> Difference | None:
    """Return the first difference of series from those of a run, split as those were.

    A file that the run was validated on is left aside, as the split then has no such part.

    Raises:
        UsageError: they cannot be split like that.
    """
    data = run.config.data
    parts = split_tables(tables, data.split, data.split_by, trains=False)
    compared = [name for name, of_series in parts.items() if of_series]
    return _difference_in(run, tables, parts, compared)


def _as_the_run_read(run: FinishedRun) -> list[Sequence[Table]]:
    """Read the series once more, where overrides say which of their rows there are.

    Returns:
        Them with the run's own settings of that; nothing if there are none, or they do not work.
    """
    own, names = run.settings["data"], [name.removeprefix("data.") for name in ROWS]
    before = {name: own[name] for name in names if name in own and run.gives(f"data.{name}")}
    if not before:
        return []
    data = run.config.data
    try:
        section = OmegaConf.create({**asdict(data), **before})
        as_before = replace(run.config, data=read_section("data", type(data), section))
        with warnings.catch_warnings():
            # Of the series as they are tested all has been said.
            warnings.simplefilter("ignore", DataWarning)
            return [build_tables(as_before, run.columns_of)]
    except UsageError:
        return []


def _are_own(run: FinishedRun, tables: Sequence[Table]) -> bool:
    try:
        return _difference(run, tables) is None
    except UsageError:
        # What cannot be split as the run was is not its data.
        return False


def _begin_with_training(run: FinishedRun, tables: Sequence[Table]) -> bool:
    """Whether a series begins with the training part of the run; of several that is not known."""
    n_rows = run.record.parts["training"].n_rows
    if len(tables) > 1 or tables[0].n_rows < n_rows:
        return False
    parts: Parts = {"training": (SeriesPart(range(n_rows)),), "validation": (), "test": ()}
    try:
        return _difference_in(run, tables, parts, ["training"]) is None
    except UsageError:
        # A column has no value there.
        return False


def _difference_in(
    run: FinishedRun, tables: Sequence[Table], parts: Parts, compared: Sequence[str]
) -> Difference | None:
    """Return the first difference in some parts."""
    first = tables[0]
    values = fill_gaps(joined([table.values for table in tables]), first.columns, parts)
    present = replace(
        run.record,
        columns=list(first.columns),
        targets=list(first.targets),
        future=list(first.future),
        parts={name: PartRecord.of(rows_of(values, parts[name])) for name in compared},
    )
    of_run = {name: run.record.parts[name] for name in compared}
    return replace(run.record, parts=of_run).difference(present)


def check_unchanged(run: FinishedRun, tables: Sequence[Table]) -> None:
    """Check that series that are said to be those of the run still are.

    Args:
        run: with the settings of the data.
        tables: the series.

    Raises:
        UsageError: they are others now, or cannot be split as the run's were.
    """
    found = _difference(run, tables)
    if found is None:
        return
    before, now = found
    given = [name for name in ROWS if run.gives(name)]
    said = "The data is no longer"
    remedy = f"restore it, or name the data to test on with {run.other_data}"
    if any(np.isnan(table.values).any() for table in tables):
        remedy += (
            "; if it is as it was, the run is of a version that filled gaps in the training part"
            " with straight lines, and has to be trained again"
        )
    if given:
        said = f"With {' and '.join(given)} the data is not"
        them = "it" if len(given) == 1 else "them"
        remedy = f"leave {them} out, or say what is to be tested with data.split=..."
    raise UsageError(
        f"{said} that of run={run.folder.path}, which was trained {before}, and now there is"
        f" {now}; {remedy}"
    )
