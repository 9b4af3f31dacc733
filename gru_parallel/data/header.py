"""Checks the names of a CSV file's columns: a file without a header row shows in them."""

import re
import warnings
from pathlib import Path

from gru_parallel.data.sheet import check_names_differ, file_error
from gru_parallel.errors import DataWarning

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b.*")


def check_header(path: Path, names: list[str]) -> None:
    """Refuse names that are the values of a first row, and warn of those that could be.

    Numbers may be names, such as those of sensors. Numbers that count from 0 or 1, as many programs
    name columns, are no reason for a word.

    Args:
        path: the file.
        names: its first row.

    Raises:
        UsageError: a name is a date and the others are numbers, or two are the same.
    """
    dates = [name for name in names if _DATE.fullmatch(name)]
    numbers = [name for name in names if _NUMBER.fullmatch(name) and name not in dates]
    if dates and (numbers or len(dates) == len(names)):
        raise file_error(
            path,
            f"has no header row: its first row holds {_shown(dates[:1] + numbers)}; add a row with "
            "a name for each column.",
        )
    above = "add a row with a name for each column above them"
    check_names_differ(
        path,
        names,
        "rename all but one" + (f", or, if these are values, {above}" if numbers else ""),
    )
    if numbers and not _counts(numbers):
        warnings.warn(
            f"data.path={path}: the header row names columns {_shown(numbers)}; if these are "
            f"values, {above}.",
            DataWarning,
            stacklevel=2,
        )


def _counts(numbers: list[str]) -> bool:
    counted = [str(n) for n in range(len(numbers) + 1)]
    return numbers in (counted[:-1], counted[1:])


def _shown(names: list[str], n_shown: int = 3) -> str:
    return ", ".join(names[:n_shown]) + (", ..." if len(names) > n_shown else "")
