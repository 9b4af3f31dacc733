"""From the settings to the model, wrapped for training."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from gru_parallel.build.target import find_target
from gru_parallel.config import Config
from gru_parallel.errors import UsageError
from gru_parallel.model import LOSSES, GRUStack, StackModel, StepHead, WindowHead
from gru_parallel.read_config import as_written
from gru_parallel.training import SeriesModule
from gru_parallel.training.module import MakeOptimizer, MakeScheduler

# In the settings it stands for the number of optimiser steps of the whole run.
_TOTAL_STEPS = "total_steps"


def build_module(config: Config, n_channels: int, n_targets: int) -> SeriesModule:
    """Draw the model's initial weights from the seed and wrap it for training.

    Raises:
        UsageError: the optimiser or the schedule of the learning rate cannot be made.
    """
    _check_arguments(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = _build_model(config, n_channels, n_targets)
    return SeriesModule(
        model,
        LOSSES[config.model.loss],
        _optimizer_maker(config.optimizer),
        _scheduler_maker(config.lr_scheduler),
        schedule_interval=config.lr_scheduler.get("interval", "step"),
        seed=config.seed,
    )


def _check_arguments(config: Config) -> None:
    """Make an optimiser and a schedule for nothing: a wrong argument is found before the run."""
    optimizer = _optimizer_maker(config.optimizer)([nn.Parameter(torch.zeros(1))])
    make_scheduler = _scheduler_maker(config.lr_scheduler)
    if make_scheduler is not None:
        make_scheduler(optimizer, 1)
    trainer = config.trainer
    endless = trainer.max_epochs == -1 or (trainer.max_epochs is None and trainer.max_time)
    if _TOTAL_STEPS in config.lr_scheduler.values() and endless and trainer.max_steps == -1:
        raise UsageError(
            f"trainer.max_epochs={trainer.max_epochs} gives a run without a known end, and this"
            " lr_scheduler needs one; set trainer.max_epochs or trainer.max_steps."
        )


def _build_model(config: Config, n_channels: int, n_targets: int) -> StackModel:
    model = config.model
    linear = model.encoder == "linear"
    encoder = nn.Linear(n_channels, model.hidden_size) if linear else nn.Identity()
    stack = GRUStack(
        model.hidden_size if linear else n_channels,
        model.hidden_size,
        model.num_layers,
        model.layers_per_block,
        dropout=model.dropout,
        bidirectional=model.bidirectional,
        h_0=model.h_0,
    )
    width = stack.output_size
    head: WindowHead | StepHead
    if model.head == "window":
        head = WindowHead(width, (config.data.horizon, n_targets))
    else:
        head = StepHead(width, n_targets)
    return StackModel(encoder, stack, head)


def _optimizer_maker(section: DictConfig) -> MakeOptimizer:
    def make(parameters: list[nn.Parameter]) -> Optimizer:
        optimizer: Optimizer = _make("optimizer", section, parameters)
        return optimizer

    return make


def _scheduler_maker(section: DictConfig) -> MakeScheduler | None:
    if section.get("_target_") is None:
        return None

    def make(optimizer: Optimizer, n_steps: int) -> LRScheduler:
        settings = {_TOTAL_STEPS: n_steps}
        scheduler: LRScheduler = _make("lr_scheduler", section, optimizer, settings)
        return scheduler

    return make


def _make(name: str, section: DictConfig, subject: Any, words: dict[str, Any] | None = None) -> Any:
    """Call the section's class with `subject` and the section's other settings.

    Settings whose value is one of `words` are replaced by what the word stands for.
    """
    make = find_target(name, section)
    settings = OmegaConf.to_container(section, resolve=True)
    assert isinstance(settings, dict)
    target = settings.pop("_target_")
    settings.pop("interval", None)
    words = words or {}
    arguments = {
        str(key): words.get(value, value) if isinstance(value, str) else value
        for key, value in settings.items()
    }
    try:
        return make(subject, **arguments)
    except (TypeError, ValueError) as error:
        message = " ".join(str(error).split()).rstrip(".")
        given = ", ".join(f"{name}.{key!s}={as_written(value)}" for key, value in settings.items())
        raise UsageError(
            f"{name} ({target}) cannot be made with {given or 'no arguments'}: {message}; use"
            " values that the class takes."
        ) from error
