"""Puts right where Lightning's loop resumes, so that no epoch is counted without its batches."""

from __future__ import annotations

from typing import Any


def begin_next_epoch(trainer: Any) -> None:
    """Begin the epoch after that of the checkpoint, where that one is complete.

    So Lightning 2.6 resumes by itself, unless there is max_steps: then it takes up the complete
    epoch, which has no batches left, and counts it as another one.

    Args:
        trainer: Lightning's, whose training starts.
    """
    loop = trainer.fit_loop
    epochs = loop.epoch_progress
    is_within = loop.restarted_mid_epoch or not loop.epoch_loop.batch_progress.is_last_batch
    if not loop.restarting or is_within or epochs.current.ready > epochs.current.processed:
        return
    # Its own setter would keep it, for the sake of max_steps.
    loop._restarting = loop.epoch_loop.restarting = False
    if epochs.current.completed < epochs.current.processed:
        epochs.increment_completed()
    loop.reset_restart_stage()
    loop.epoch_loop.reset_restart_stage()
