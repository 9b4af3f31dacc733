"""TurnTaker: what a process does when it is a variant's turn."""

from __future__ import annotations

from time import process_time

from benchmarks.resident import hand_back, peak_bytes
from benchmarks.samples import Step, Turn
from benchmarks.subject import Subject

LONG_MS = 2_000.0
"""A step that takes longer needs no warm-up, once is enough of it, and others could lack the memory
that it leaves behind."""


class TurnTaker:
    """Takes turns with a subject.

    Args:
        subject: what is measured.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._takes_long = False

    def take_turn(self, n_steps: int, *, with_memory: bool) -> Turn:
        """Run a step that is not measured, then those that are.

        Args:
            n_steps: so many are measured; only one where steps take long.
            with_memory: whether their memory is, too; that makes the first of them a little slower,
                since the process has to ask for its memory anew.
        """
        start = process_time()
        if not self._takes_long:
            # The first one loads code, and the turns of the others have emptied the caches.
            self._subject.step()
        steps: list[Step] = []

        def run() -> None:
            n_measured = 1 if self._takes_long else n_steps
            steps.extend(self._subject.step() for _ in range(n_measured))

        peaks: tuple[int, ...] = ()
        if with_memory:
            peaks = peak_bytes(run)
        else:
            run()
        self._takes_long = steps[-1].wall_ms > LONG_MS
        if self._takes_long:
            hand_back()
        return Turn(tuple(steps), (process_time() - start) * 1e3, peaks)

    def close(self) -> None:
        """End what the subject has started."""
        self._subject.close()
