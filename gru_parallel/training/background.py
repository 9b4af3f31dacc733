"""Runs a job at once, or in a thread while training continues."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

Job = Callable[[], None]


class Background:
    """Runs jobs one after the other.

    Args:
        is_used: whether a job runs in a thread; if not, `run` returns when it is done.
    """

    def __init__(self, *, is_used: bool) -> None:
        self.is_used = is_used
        self._pending: Future[None] | None = None

    def run(self, job: Job) -> None:
        """Start a job once the one before is done.

        Raises:
            Exception: from the job, or from the one before.
        """
        self.wait()
        if not self.is_used:
            job()
            return
        executor = ThreadPoolExecutor(1, "gru_parallel checkpoint")
        self._pending = executor.submit(job)
        # The thread ends with the job.
        executor.shutdown(wait=False)

    def wait(self) -> None:
        """Wait for the job that runs.

        Raises:
            Exception: from the job.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
