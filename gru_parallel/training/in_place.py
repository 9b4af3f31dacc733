"""Puts a complete checkpoint, a file or a folder, in the place of the one before, which is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gru_parallel.run_folder import one_before, part_of


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Write under another name inside the context; at its end, take the place of the target.

    A process that is killed, at whatever moment, leaves the target or the one before it complete.

    Args:
        target: path of a file or a folder; a missing folder around it is created.

    Yields:
        The path to write to, at which there is nothing.

    Raises:
        OSError: something cannot be written; the message names the target.
    """
    part = make_way(target)
    try:
        yield part
        take_place(part, target)
    except BaseException as error:
        with suppress(OSError):
            remove(part)
        said = in_words(error, target)
        if said is error:
            raise
        raise said from error


def make_way(target: Path) -> Path:
    """Return a path to write to at which there is nothing, in a folder that exists.

    Raises:
        OSError: as from `written_whole`.
    """
    # Always the same name, so that what a killed process leaves is overwritten.
    part = part_of(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove(part)
    except OSError as error:
        raise in_words(error, target) from error
    return part


def take_place(part: Path, target: Path) -> None:
    """Rename what is complete, and what was there before to the name of the one before."""
    before = one_before(target)
    # What is replaced may be damaged; the one before that stays until it is not needed any more.
    older = one_before(before)
    if target.exists():
        remove(older)
        if before.exists():
            before.rename(older)
        target.rename(before)
    part.rename(target)
    sync(target.parent)
    remove(older)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a checkpoint to where another may be."""
    with written_whole(target) as part:
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, part)
        for path in (part, *part.rglob("*")) if part.is_dir() else (part,):
            sync(path)


def sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    if os.name == "nt":
        # Windows neither opens folders nor syncs what is only read.
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def in_words(error: BaseException, target: Path) -> BaseException:
    """Return an OSError that names the target, if the system caused this error; else the error."""
    cause: BaseException | None = error
    # torch raises another one while it closes a file.
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    if cause is None:
        return error
    reason = f"{cause.strerror}; make room or give access; an older one is unchanged"
    return OSError(cause.errno, reason, str(target))
