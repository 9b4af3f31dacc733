"""From the settings to the model with its first weights, wrapped for training."""

from __future__ import annotations

from collections.abc import Collection

import torch

from gru_parallel.assembly.model import build_model, loss_of
from gru_parallel.assembly.optimizer import (
    WEIGHT_DECAY_ON,
    check_optimizer,
    optimizer_maker,
    scheduler_maker,
)
from gru_parallel.assembly.workload import number_type
from gru_parallel.choices import DECAYED
from gru_parallel.config.schema import Config
from gru_parallel.data.widths import Widths
from gru_parallel.training import SeriesModule


def build_module(
    config: Config, widths: Widths, kept_blocks: Collection[int] | None = None
) -> SeriesModule:
    """Draw the model's initial weights from the seed and wrap it for training.

    Args:
        config: the run's settings.
        widths: of the windows.
        kept_blocks: the blocks whose weights are kept, see `build_model`; None keeps all.

    Raises:
        UsageError: the optimiser or the schedule of the learning rate cannot be made.
    """
    check_optimizer(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build_model(config, widths, kept_blocks)
    if number_type(config) == "float64":
        # Lightning converts it only later, when weights that were loaded have been rounded.
        model.double()
    return SeriesModule(
        model,
        loss_of(config, model.output),
        optimizer_maker(config.optimizer),
        scheduler_maker(config.lr_scheduler),
        schedule_interval=config.lr_scheduler.get("interval", "step"),
        monitor=config.lr_scheduler.get("monitor", "val/loss"),
        seed=config.seed,
        weight_decay_on=config.optimizer.get(WEIGHT_DECAY_ON, DECAYED[0]),
    )
