"""How far a run has come, and how many steps it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Progress:
    """How far a checkpoint's run has come.

    Attributes:
        steps: of the optimiser.
        epochs: whose last batch is done.
        batches: done of the epoch after these.
    """

    steps: int
    epochs: int
    batches: int

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any]) -> Progress:
        """Read it from what Lightning writes.

        An epoch in whose middle the run ended is not done, although Lightning counts it.
        """
        loop = checkpoint["loops"]["fit_loop"]
        epochs = loop["epoch_progress"]["current"]
        batches = loop["epoch_loop.batch_progress"]
        n_begun = max(epochs["started"], epochs["processed"])
        # A validation, and a checkpoint in it, comes between the last batch and the epoch's end.
        if batches["is_last_batch"] or n_begun == 0:
            return cls(checkpoint["global_step"], n_begun, 0)
        return cls(checkpoint["global_step"], n_begun - 1, batches["current"]["processed"])


def validates_next(trainer: Any) -> bool:
    """Whether a validation follows the batch that ends now.

    Lightning 2.6 leaves it out of a run that is resumed from a checkpoint between the two.

    Args:
        trainer: Lightning's, in training.
    """
    loop = trainer.fit_loop
    return bool(loop.epoch_loop._should_check_val_fx(loop._data_fetcher))


def steps_of_run(
    n_batches: float,
    batches_per_step: int,
    max_epochs: int,
    max_steps: int,
    done: Progress | None = None,
) -> int:
    """Return the number of optimiser steps in a whole run, -1 for a run without an end.

    Args:
        n_batches: of an epoch.
        batches_per_step: number of batches whose gradients are accumulated for one step.
        max_epochs: where the run ends; -1 for no limit.
        max_steps: where it ends at the latest; -1 for no limit.
        done: progress of the checkpoint that the run is resumed from; its steps count as they
            were, whatever its batches.
    """
    if max_epochs == -1 or math.isinf(n_batches):
        return max_steps
    steps_per_epoch = math.ceil(n_batches / batches_per_step)
    n_steps = steps_per_epoch * max(max_epochs, 1)
    if done is not None:
        n_steps -= steps_per_epoch * done.epochs + done.batches // batches_per_step
        n_steps += done.steps
    return n_steps if max_steps == -1 else min(n_steps, max_steps)
