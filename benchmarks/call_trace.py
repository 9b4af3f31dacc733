"""Trace: which functions below a folder are called, in any thread, and how deep they nest. Pure."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple


class Function(NamedTuple):
    """A function that was called.

    Attributes:
        file: in which it stands, relative to the package.
        name: with the names of what it stands in: `Class.method`, `outer.<locals>.inner`.
    """

    file: str
    name: str

    @property
    def class_name(self) -> str | None:
        """The class that it is a method of; None where it is no method."""
        owner = self.name.rpartition(".")[0]
        return owner if owner and not owner.endswith("<locals>") else None


class Trace:
    """The functions below a folder that any thread calls while it records.

    Only threads that begin after this object was made are seen, and the one that made it.

    Attributes:
        functions: that were called, in the order of their first calls.
        depth: of the deepest call: how many of the folder's functions were under way in one thread.
    """

    def __init__(self, folder: Path) -> None:
        self.functions: dict[Function, None] = {}
        self.depth = 0
        self._prefix = f"{folder}/"
        self._records = False
        # setprofile_all_threads needs Python 3.12.
        threading.setprofile(self._see)
        sys.setprofile(self._see)

    def close(self) -> None:
        """See no more of the threads that begin from now on, nor of this one."""
        sys.setprofile(None)
        threading.setprofile(None)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what is called inside."""
        self._records = True
        try:
            yield
        finally:
            self._records = False

    @property
    def files(self) -> list[str]:
        """The files of the functions, in the order of their first calls."""
        return list(dict.fromkeys(function.file for function in self.functions))

    @property
    def classes(self) -> set[tuple[str, str]]:
        """The classes that the functions are methods of, each with its file."""
        return {(f.file, f.class_name) for f in self.functions if f.class_name is not None}

    def _see(self, frame: FrameType, event: str, _: object) -> None:
        if self._records and event == "call" and self._counts(frame.f_code):
            code = frame.f_code
            file = code.co_filename.removeprefix(self._prefix)
            self.functions.setdefault(Function(file, code.co_qualname))
            self.depth = max(self.depth, self._depth_of(frame))

    def _counts(self, code: CodeType) -> bool:
        # <listcomp>, <genexpr>, <lambda> and the like are part of the function that they stand in.
        return code.co_filename.startswith(self._prefix) and not code.co_name.startswith("<")

    def _depth_of(self, frame: FrameType) -> int:
        depth = 0
        caller: FrameType | None = frame
        while caller is not None:
            depth += self._counts(caller.f_code)
            caller = caller.f_back
        return depth


def report(trace: Trace, without_backward: int) -> str:
    """Say what was counted, in one line."""
    return (
        f"{len(trace.files)} files, {without_backward} functions"
        f" ({len(trace.functions)} with backward), {len(trace.classes)} classes,"
        f" {trace.depth} calls deep"
    )


def listing(trace: Trace) -> str:
    """List the functions by file, in the order of their first calls."""
    return "\n".join(
        "\n    ".join([file, *(f.name for f in trace.functions if f.file == file)])
        for file in trace.files
    )
