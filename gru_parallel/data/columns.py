"""Chooses the value columns and the targets among the columns of a series."""

import difflib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from gru_parallel.errors import DataWarning, UsageError

OF_MODEL, OF_RUN = "the model was trained on", "the run trains on"
"""Whose columns a file has to have, as a message ends."""


def choose_columns(
    names: Sequence[str],
    time_columns: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    targets: str | Sequence[str] | None = None,
    series_column: str | None = None,
    index_columns: Sequence[str] = (),
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Choose the value columns and, among them, the targets.

    Args:
        names: all columns of the series.
        time_columns: those that hold the times, if any; they are no values.
        columns: the user's data.columns; None takes all but those of times, series and index.
        targets: the user's data.target; None takes all value columns.
        series_column: the one that names the series of each row, if any; its cells are no values.
        index_columns: those that only identify rows, or hold something else, unless `columns` names
            them.

    Returns:
        The value columns and the targets, each in the order the user gave.

    Raises:
        UsageError: a name is unknown, given twice, or contradicts another setting.
    """
    kinds = dict.fromkeys(time_columns, "time")
    if series_column is not None:
        kinds[series_column] = "series"
    valued = [name for name in names if name not in kinds]
    if columns is None:
        chosen = tuple(name for name in valued if name not in index_columns)
    else:
        chosen = check_names("data.columns", columns, valued, kinds)
    if not chosen:
        beside = " and ".join(f"the {kind} column {name!r}" for name, kind in kinds.items())
        raise UsageError(
            f"data.path: there is no value column{f' beside {beside}' if beside else ''}; "
            "give a file with at least one column of numbers."
        )
    if columns is None and "" in chosen:
        raise UsageError(
            f"data.columns: column {list(names).index('') + 1} of the file has no name in the "
            "header; name it there, or list the columns to use in data.columns."
        )
    wanted = chosen if targets is None else check_names("data.target", targets, valued, kinds)
    for name in wanted:
        if name not in chosen:
            raise UsageError(
                f"data.target={name} is not one of data.columns; add it there, or choose among: "
                f"{_abridged(chosen)}."
            )
    return chosen, wanted


def check_names(
    setting: str,
    given: str | Sequence[str],
    names: Sequence[str],
    kinds: Mapping[str, str] | None = None,
    without: str = "leave it out",
) -> tuple[str, ...]:
    """Return the column names that a setting gives.

    Args:
        setting: its name.
        given: one column or several.
        names: those it may give.
        kinds: what other columns hold: "time" or "series".
        without: what to do to name no column.

    Raises:
        UsageError: there are none, or one is unknown or given twice.
    """
    wanted = (given,) if isinstance(given, str) else tuple(given)
    if not wanted:
        raise UsageError(f"{setting}=[] names no column; name at least one, or {without}.")
    for name in wanted:
        kind = (kinds or {}).get(name)
        if kind is not None:
            none = ", or none," if kind == "time" else ""
            raise UsageError(
                f"{setting}={name} is the {kind} column, which holds no values; leave it out, or "
                f"name another {kind} column{none} with data.{kind}_column."
            )
        if name not in names:
            raise UsageError(
                f"{setting}={name} is not a column{_did_you_mean(name, names)}; use one of:"
                f" {_abridged(names)}."
            )
        if wanted.count(name) > 1:
            raise UsageError(f"{setting} names {name!r} twice; name it once.")
    return wanted


def check_apart(given: Mapping[str, Sequence[str]]) -> None:
    """Check that no column is to be two things.

    Args:
        given: columns by the setting that names them; targets are value columns, too.

    Raises:
        UsageError: one is.
    """
    setting_of: dict[str, str] = {}
    for setting, names in given.items():
        for name in names:
            before = setting_of.setdefault(name, setting)
            if before != setting and (before, setting) != ("data.columns", "data.target"):
                raise UsageError(
                    f"{setting} and {before} both name {name!r}, and a column goes in as one of"
                    " them alone; leave it out of the other."
                )


def check_of_run(
    path: Path, names: Sequence[str], columns: Sequence[str], others: Sequence[str], whose: str
) -> None:
    """Check that a file has the columns of a model, or of another file, in any order.

    Args:
        path: of the file.
        names: all its columns.
        columns: that it has to have; columns beside them are ignored, with a warning.
        others: columns that are ignored without one.
        whose: `SeriesFile.columns_of`.

    Raises:
        UsageError: it lacks one.
    """
    for name in columns:
        if name not in names:
            raise UsageError(
                f"data.path={path} has no column {name!r}, which {whose}"
                f"{_did_you_mean(name, names)}; it has {_abridged(names)}. Add or rename it there."
            )
    unknown = [name for name in names if name not in columns and name not in others]
    if unknown:
        warnings.warn(
            f"data.path={path}: {_abridged(unknown)} {'is' if len(unknown) == 1 else 'are'} not"
            f" among the columns that {whose}, and ignored.",
            DataWarning,
            stacklevel=3,
        )


def _did_you_mean(name: str, names: Sequence[str]) -> str:
    folded = {known.casefold(): known for known in reversed(names)}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f" (did you mean {folded[near[0]]!r}?)" if near else ""


def _abridged(names: Sequence[str], n_shown: int = 12) -> str:
    shown = ", ".join(names[:n_shown])
    return shown if len(names) <= n_shown else f"{shown} and {len(names) - n_shown} more"
