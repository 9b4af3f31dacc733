"""Where commands write what they have found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from gru_parallel.errors import UsageError

if TYPE_CHECKING:
    # With torch.
    from gru_parallel.ranks import Ranks


def output_folder(given: str | None, default: Path, ranks: Ranks | None = None) -> Path:
    """Return the folder to write into, which need not exist.

    Args:
        given: the setting `output`; None for the default.
        default: in the folder of the run.
        ranks: if this process is one of many, of which the first writes.

    Raises:
        UsageError: it is empty, a file, or cannot be written to.
    """
    folder = default
    if given is not None:
        if not given.strip():
            raise UsageError("output= is empty; name a folder, or leave it out.")
        folder = Path(given).expanduser()
        if folder.is_file():
            raise UsageError(f"output={given} is a file; give a folder, which may be a new one.")
    check_writable(folder, ranks)
    return folder


def check_writable(folder: Path, ranks: Ranks | None = None) -> None:
    """Check, before anything is computed, that files can be written into a folder.

    Args:
        folder: which need not exist.
        ranks: if this process is one of many, of which the first writes.

    Raises:
        UsageError: no files can be made there, or no folder.
    """
    if ranks is not None and not ranks.is_first:
        return
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    with writing(folder):
        try:
            # A file system may be read-only, which the folder's mode does not tell.
            TemporaryDirectory(dir=existing).cleanup()
        except OSError as error:
            error.filename = str(folder)
            raise


@contextmanager
def writing(output: Path, setting: str = "output=...") -> Iterator[None]:
    """Turn an error of the disk inside the context into one that names the file.

    Args:
        output: where something is written.
        setting: that says where, as it is given on the command line.

    Raises:
        UsageError: something cannot be written.
    """
    try:
        yield
    except OSError as error:
        # pyarrow has more to say, also of its own functions.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UsageError(
            f"{error.filename or output} cannot be written ({reason}); choose another {setting}"
        ) from error
