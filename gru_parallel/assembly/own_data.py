"""Tells whether series are those that a finished run was trained on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

from gru_parallel.assembly.finished_run import ROWS, FinishedRun
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
    said, is_own = "", _are_own(run, tables)
    # Without a test part it is refused.
    if is_own and run.record.parts["test"].n_rows:
        said = (
            f"The series are those that run={run.folder.path} was trained on, so only its test"
            " part is tested; data.split=... would test another."
        )
    elif not is_own and _begin_with_training(run, tables):
        said = (
            f"The first {run.record.parts['training'].n_rows} rows are those that"
            f" run={run.folder.path} was trained on, and they are tested, too; set data.split to"
            " test newer ones alone."
        )
    if said:
        warnings.warn(said, DataWarning, stacklevel=2)
    return replace(run, is_recognised=is_own)


def difference(run: FinishedRun, tables: Sequence[Table]) -> Difference | None:
    """Return the first difference of series from those of a run, split as those were.

    A validation file that the run had is left aside.

    Args:
        run: with the settings of the data.
        tables: the series.

    Raises:
        UsageError: they cannot be split like that.
    """
    config = run.config
    parts = split_tables(tables, config.data.split, config.data.split_by)
    compared = [name for name in parts if name != "validation" or config.validation_path is None]
    return _difference(run, tables, parts, compared)


def _are_own(run: FinishedRun, tables: Sequence[Table]) -> bool:
    try:
        return difference(run, tables) is None
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
        return _difference(run, tables, parts, ["training"]) is None
    except UsageError:
        # A column has no value there.
        return False


def _difference(
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


def check_unchanged(run: FinishedRun, found: Difference | None) -> None:
    """Check that data that is said to be that of the run still is.

    Args:
        run: with the settings of the data.
        found: how the data differs from that of the run.

    Raises:
        UsageError: it does.
    """
    if found is None:
        return
    before, now = found
    given = [name for name in ROWS if run.gives(name)]
    said, remedy = "The data is no longer", "restore it, or name the data to test on with data.path"
    if given:
        said = f"With {' and '.join(given)} the data is not"
        them = "it" if len(given) == 1 else "them"
        remedy = f"leave {them} out, or say what is to be tested with data.split"
    raise UsageError(
        f"{said} that of run={run.folder.path}, which was trained {before}, and now there is"
        f" {now}; {remedy}=..."
    )
