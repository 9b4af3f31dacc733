"""Puts right where Lightning's loop resumes, so that each epoch has each of its batches once."""

from __future__ import annotations

from typing import Any


def take_up_cut_epoch(checkpoint: dict[str, Any]) -> None:
    """Have a run train the rest of the epoch in whose middle the one before has ended.

    It ended there because of max_steps or max_time, or because a callback told it to. Lightning 2.6
    counts the epoch as any other.

    Args:
        checkpoint: about to be loaded; it is changed.
    """
    if "loops" not in checkpoint:
        return
    loop = checkpoint["loops"]["fit_loop"]
    epochs, batches = loop["epoch_progress"], loop["epoch_loop.batch_progress"]
    has_ended = 0 < epochs["current"]["started"] == epochs["current"]["processed"]
    if has_ended and not batches["is_last_batch"]:
        for counts in (epochs["total"], epochs["current"]):
            n_done = counts["processed"] - 1
            counts |= {"processed": n_done, "completed": n_done}


def begin_next_epoch(trainer: Any) -> None:
    """Begin the epoch after that of the checkpoint, where all its batches are done.

    So Lightning 2.6 resumes by itself from the end of an epoch, unless there is max_steps: then it
    takes up the epoch again, and counts it as another one. After a checkpoint of the last batch it
    goes on in the next epoch without announcing it, and its counts no longer agree.

    Args:
        trainer: Lightning's, whose training starts.
    """
    loop = trainer.fit_loop
    epochs, batches = loop.epoch_progress, loop.epoch_loop
    is_within = loop.restarted_on_epoch_start or epochs.current.ready > epochs.current.processed
    if not loop.restarting or is_within:
        return
    if batches.restarted_on_train_batch_end:
        # The checkpoint was written before it was counted.
        batches.batch_progress.increment_completed()
        batches._batches_that_stepped += 1
    if epochs.current.completed < epochs.current.processed:
        epochs.increment_completed()
    # Its own setter would keep it, for the sake of max_steps.
    loop._restarting = batches.restarting = False
    loop.reset_restart_stage()
    batches.reset_restart_stage()
