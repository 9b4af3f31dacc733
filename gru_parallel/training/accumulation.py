"""Gradients that are accumulated over another number of batches from some epoch on."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch.callbacks import GradientAccumulationScheduler

from gru_parallel.errors import UsageError
from gru_parallel.training.callbacks_of import callbacks_of


def check_steps_are_known(trainer: pl.Trainer, schedule_interval: str) -> None:
    """Refuse a schedule of the rate that counts steps, where epochs have other numbers of them.

    Args:
        trainer: of the run.
        schedule_interval: "step" or "epoch": how often the schedule moves.

    Raises:
        UsageError: a callback decides from epoch to epoch how many batches make a step.
    """
    changes = callbacks_of(trainer, GradientAccumulationScheduler)
    if schedule_interval == "step" and changes and trainer.max_epochs != -1:
        raise UsageError(
            "A schedule of the rate that moves once a step is made for the steps of the whole run,"
            " and GradientAccumulationScheduler changes their number from epoch to epoch; use"
            " accumulate_grad_batches of the Trainer, or max_epochs=-1 with max_steps, or a"
            " schedule that moves once an epoch."
        )


def accumulate_as_scheduled(trainer: pl.Trainer) -> None:
    """Accumulate as scheduled from now on.

    Lightning asks for it at the start of each epoch, and so not in one that is resumed.
    """
    for scheduler in callbacks_of(trainer, GradientAccumulationScheduler):
        scheduler.on_train_epoch_start(trainer)
