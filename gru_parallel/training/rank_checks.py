"""Refuses what ranks cannot have, of whom each has its own weights, gradients and clock."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch.callbacks import (
    ModelPruning,
    OnExceptionCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)

from gru_parallel.errors import UsageError
from gru_parallel.training.callbacks_of import callbacks_of

ALL_WEIGHTS_AT_ONCE = (ModelPruning, StochasticWeightAveraging, WeightAveraging)
"""Callbacks that need all weights."""


def check_for_ranks(trainer: pl.Trainer, *, trains: bool = True) -> None:
    """Check that what a Trainer has been given works over ranks.

    Args:
        trainer: Lightning's.
        trains: whether it trains; where it only tests or predicts, nothing is scaled or validated.

    Raises:
        UsageError: a callback needs all weights, of which each rank has only some, or writes them
            where one rank fails, the loss is scaled by what one process sees of the gradients, or
            validations begin by its clock.
    """
    for callback in callbacks_of(trainer, pl.Callback):
        _check_callback(callback)
    if not trains:
        return
    if getattr(trainer.precision_plugin, "scaler", None) is not None:
        raise UsageError(
            f"precision={trainer.precision} scales the loss by what one process sees of the"
            " gradients, and each rank sees its own; use precision=bf16-mixed, or engine=threads."
        )
    interval_s = getattr(trainer, "_val_check_time_interval", None)
    if interval_s is not None:
        raise UsageError(
            f"trainer.val_check_interval is a time ({interval_s:g} s), which each rank would"
            " measure by its own clock, and validate while the others train; give a number of"
            " batches or a share of an epoch, or use engine=threads."
        )


def _check_callback(callback: pl.Callback) -> None:
    name = type(callback).__name__
    if isinstance(callback, ALL_WEIGHTS_AT_ONCE):
        raise UsageError(
            f"The callback {name} looks at all weights at once, but with engine=processes each"
            " rank has its own; leave it out, or use engine=threads."
        )
    saves = isinstance(callback, OnExceptionCheckpoint)
    if saves or getattr(callback, "save_on_exception", False):
        given = name if saves else f"{name}(save_on_exception=True)"
        raise UsageError(
            f"The callback {given} writes a checkpoint where a rank fails, for which it would wait"
            " for all others, and these for it; leave it out, and resume from the last checkpoint,"
            " or use engine=threads."
        )
