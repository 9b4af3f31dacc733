"""Writes files whole or not at all, so that nothing half-written bears the name of a result."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gru_parallel.run_folder import part_of


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """Give a path to write to; what is there at the end takes the place of a file.

    If an error leaves the context, what was written is removed, with the folders that were made for
    it, and an older file is unchanged.

    Args:
        path: of the file; missing folders around it are created.

    Yields:
        The path to write to until then.

    Raises:
        OSError: something cannot be written; its `filename` is the path of the file.
    """
    path = Path(path)
    part = part_of(path)
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
            for folder in made:
                folder.rmdir()
        # On a full disk, the system names no file.
        if isinstance(error, OSError) and error.filename in (None, str(part)):
            error.filename = str(path)
        raise


def write_text(text: str, path: Path | str) -> None:
    """Write a file of text; see `whole_file`."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]], path: Path | str) -> None:
    """Write a CSV file; see `whole_file`.

    A number has as many digits as it takes to read the same one back. What is unknown, NaN or None,
    is empty.

    Args:
        columns: their names.
        rows: values of each, in this order.
        path: of the file.
    """
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        # A NaN is the only value that differs from itself.
        writer.writerows(["" if value != value else value for value in row] for row in rows)
