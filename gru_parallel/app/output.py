"""Where a command that uses a finished run writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gru_parallel.errors import UsageError


def output_folder(given: str | None, default: Path) -> Path:
    """Return the folder to write into, which need not exist.

    Args:
        given: the setting `output`; None for the default.
        default: in the folder of the run.

    Raises:
        UsageError: it is empty, or a file.
    """
    if given is None:
        return default
    if not given.strip():
        raise UsageError("output= is empty; name a folder, or leave it out.")
    folder = Path(given).expanduser()
    if folder.is_file():
        raise UsageError(f"output={given} is a file; give a folder, which may be a new one.")
    return folder


@contextmanager
def writing(output: Path) -> Iterator[None]:
    """Turn an error of the disk inside the context into one that names the file.

    Raises:
        UsageError: something cannot be written.
    """
    try:
        yield
    except OSError as error:
        # pyarrow has more to say, also of its own functions.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UsageError(
            f"{error.filename or output} cannot be written ({reason}); choose another output=..."
        ) from error
