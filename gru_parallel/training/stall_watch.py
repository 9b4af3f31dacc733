"""Says which stage waits for what, when a run makes no progress; ends nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Event, Thread, get_ident
from types import FrameType
from typing import Any

import lightning.pytorch as pl

from gru_parallel.ranks import Ranks, Seen
from gru_parallel.schedule import activity
from gru_parallel.training.strategy import engine_of

POLL_S = 1.0
PUBLISHED_WITHIN_S = 3.0
"""How long other ranks take at most to publish, and this one to read, what they do."""

_PLACES = {
    "lightning.pytorch.loops.fetchers": "it waited for a batch from data loading",
    "gru_parallel.training.checkpoint_file": "it read or wrote a checkpoint",
}
"""What the thread that trains does, by a module that it is in."""

_WAITS = ("threading", "queue", "selectors", "contextlib")
"""Modules that say nothing about why they are waited in."""


class StallWatch(pl.Callback):
    """Watches a run from a thread of its own, and says what it waits for if it makes no progress.

    Progress is the end of a batch, of training, validation, test or prediction, or an action of a
    stage. After twice, four times, ... the time without any, it says so again. In a run of many
    ranks the first one speaks for all; if its process has stopped, the next one.

    Args:
        after_s: seconds without progress.
        say: is called with a line, in the watching thread.
        ranks: of the run; None if this process is the only one.
    """

    def __init__(
        self, after_s: float, say: Callable[[str], None], ranks: Ranks | None = None
    ) -> None:
        self._after_s = after_s
        self._say = say
        self._ranks = ranks
        self._n_batches = 0
        self._thread: Thread | None = None
        self._ended = Event()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Begin to watch."""
        self._end()
        self._ended = Event()
        self._thread = Thread(
            target=self._watch,
            args=(trainer, get_ident(), self._ended),
            name="gru_parallel stall watch",
            daemon=True,
        )
        self._thread.start()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """End watching."""
        self._end()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """End watching a run that ends before its time."""
        self._end()

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Count a batch."""
        self._n_batches += 1

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Count a batch."""
        self._n_batches += 1

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Count a batch."""
        self._n_batches += 1

    def on_predict_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Count a batch."""
        self._n_batches += 1

    def _end(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    # The thread that watches

    def _watch(self, trainer: pl.Trainer, trains_in: int, ended: Event) -> None:
        poll_s = min(POLL_S, self._after_s / 4)
        seen, stalled_s, due_s = self._progress(trainer), 0.0, self._after_s
        while not ended.wait(poll_s):
            progress = self._progress(trainer)
            if progress != seen:
                seen, stalled_s, due_s = progress, 0.0, self._after_s
                continue
            # Counted, not timed: a process that was stopped and continued has missed nothing.
            stalled_s += poll_s
            if stalled_s >= due_s:
                due_s *= 2
                here = self._doing_here(trainer, trains_in)
                if self._ranks is not None:
                    here = self._doing_everywhere(here, ended)
                    stalled_s += PUBLISHED_WITHIN_S
                if here and self._progress(trainer) == seen and not ended.is_set():
                    self._say(f"No progress for {stalled_s:.3g} s: {here}.")

    def _progress(self, trainer: pl.Trainer) -> tuple[Any, ...]:
        engine = engine_of(trainer)
        return self._n_batches, {} if engine is None else engine.running

    def _doing_here(self, trainer: pl.Trainer, trains_in: int) -> str:
        """Say what the stages of this process do, those first that wait for no other."""
        engine = engine_of(trainer)
        running = {} if engine is None else engine.running
        if engine is None or not running:
            return place_of(trains_in)
        ordered = sorted(running.values(), key=lambda action: (action.op.is_receive, action.stage))
        names = {stage.index: stage.name for stage in engine.stages}
        n_stages = engine.plan.n_stages
        said = [activity(action, names[action.stage], n_stages) for action in ordered]
        done = [f"stage {i} on {name} was done" for i, name in names.items() if i not in running]
        return "; ".join([*said, *done])

    def _doing_everywhere(self, here: str, ended: Event) -> str:
        """Say what all ranks do, those first that wait for no other; "" if another rank says it."""
        assert self._ranks is not None
        wait, rank = self._ranks.wait_here(), self._ranks.rank
        if wait is None:
            # Published, so that the rank that speaks for all knows it.
            self._ranks.record(here)
        ended.wait(PUBLISHED_WITHIN_S)
        others = self._ranks.others()
        if not all(other in others and others[other].has_stopped for other in range(rank)):
            return ""
        ordered = sorted(others.items(), key=lambda pair: (_order(pair[1]), pair[0]))
        said = [of_rank(other, seen) for other, seen in ordered]
        if wait is None:
            return f"rank {rank} was busy: {here}"
        return "; ".join([*said, f"rank {rank} was waiting: {wait}"])


def of_rank(rank: int, seen: Seen) -> str:
    """Say what another rank was last seen doing."""
    if seen.has_stopped:
        last = f", last seen while {seen.activity}" if seen.activity is not None else ""
        return f"rank {rank} does not respond{last}"
    if seen.activity is None:
        return f"rank {rank} has said nothing yet"
    verb = "was waiting" if seen.activity.waits else "was busy"
    return f"rank {rank} {verb}: {seen.activity.what}"


def place_of(thread: int) -> str:
    """Say what a thread does outside of the stages, or else in which function it is."""
    frame: FrameType | None = sys._current_frames().get(thread)
    innermost = ""
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module in _PLACES:
            return _PLACES[module]
        if not innermost and module not in _WAITS:
            innermost = f"{module}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return f"it was in {innermost}" if innermost else "it did nothing"


def _order(seen: Seen) -> int:
    if seen.has_stopped:
        return 0
    return 2 if seen.activity is not None and seen.activity.waits else 1
