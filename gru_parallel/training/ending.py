"""Why a training ended before its last epoch or step."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping, Timer

from gru_parallel.training.callbacks_of import callbacks_of
from gru_parallel.training.early_stops import EarlyStops

_LIGHTNINGS_SUFFIX = " Signaling Trainer to stop."


def why_stopped_early(trainer: pl.Trainer) -> str | None:
    """Return in one line what ended a training before its last epoch or step, or None."""
    # Lightning declares the progress of its loop by a base class, which has no `started`.
    loop: Any = trainer.fit_loop
    # Not those that are processed: of an epoch that was cut, a resumed run counts the rest.
    n_begun = loop.epoch_progress.current.started
    n_done = n_begun if loop.epoch_loop.batch_progress.is_last_batch else n_begun - 1
    is_at_end = _reaches(n_done, trainer.max_epochs) or _reaches(
        trainer.global_step, trainer.max_steps
    )
    if not trainer.should_stop or is_at_end:
        return None
    reasons = filter(None, map(_reason, callbacks_of(trainer, pl.Callback)))
    words = f"Stopped early in epoch {n_begun - 1}: {next(reasons, 'a callback told it to.')}"
    if any(stops.have_ended_before for stops in callbacks_of(trainer, EarlyStops)):
        words += (
            " So it was before it was resumed, and nothing is left to train; give early stopping"
            " other settings, such as more patience, to train on."
        )
    return words


def _reaches(number: int, most: int | None) -> bool:
    # Lightning writes -1 for no limit.
    return most not in (None, -1) and number >= most


def _reason(callback: pl.Callback) -> str | None:
    if isinstance(callback, Timer):
        seconds_left = callback.time_remaining()
        is_over = seconds_left is not None and seconds_left <= 0
        return "the time of trainer.max_time is over." if is_over else None
    if isinstance(callback, EarlyStopping) and callback.stopping_reason_message:
        return callback.stopping_reason_message.removesuffix(_LIGHTNINGS_SUFFIX)
    return None
