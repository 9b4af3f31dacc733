"""CellClock: the CPU time that goes into F, B and W, whoever calls them."""

from __future__ import annotations

from threading import Lock
from time import thread_time
from typing import Any
from unittest.mock import patch

from gru_parallel.stage.stage_pass import StagePass


class CellClock:
    """Adds up the CPU time of all F, B and W of this process, in whatever thread they run.

    Starting one puts a clock around three methods of `StagePass` for as long as the process lives,
    so the engine that is measured stays as it is.
    """

    def __init__(self) -> None:
        self._cpu_ms = 0.0
        self._lock = Lock()
        for name in ("forward", "backward", "weights"):
            self._put_around(name)

    def take_ms(self) -> float:
        """Return the CPU time since the last call, in ms."""
        with self._lock:
            taken, self._cpu_ms = self._cpu_ms, 0.0
        return taken

    def _put_around(self, name: str) -> None:
        method = getattr(StagePass, name)

        def timed(*arguments: Any) -> Any:
            start = thread_time()
            try:
                return method(*arguments)
            finally:
                taken_ms = (thread_time() - start) * 1e3
                with self._lock:
                    self._cpu_ms += taken_ms

        patch.object(StagePass, name, timed).start()
