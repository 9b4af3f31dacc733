"""From the settings to the model, wrapped for training."""

from __future__ import annotations

from dataclasses import dataclass
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
from gru_parallel.placement import Plan, n_places, places_of_stages
from gru_parallel.read_config import as_written
from gru_parallel.training import SeriesModule
from gru_parallel.training.module import MakeOptimizer, MakeScheduler

# In the settings it stands for the number of optimiser steps of the whole run.
_TOTAL_STEPS = "total_steps"


@dataclass(frozen=True)
class Part:
    """The part of a model that one rank has.

    Attributes:
        blocks: indices of its blocks.
        has_encoder: whether the encoder is its own.
        has_head: whether the head is.
    """

    blocks: frozenset[int]
    has_encoder: bool
    has_head: bool

    @classmethod
    def of_rank(cls, plan: Plan, rank: int) -> Part:
        """Return what the plan gives a rank, of any replica."""
        place = rank % n_places(plan)
        places = places_of_stages(plan)
        own = [s for s, of_stage in zip(plan.stages, places, strict=True) if of_stage == place]
        blocks = frozenset(block for stage in own for block in stage.blocks)
        return cls(blocks, places[0] == place, places[-1] == place)


def build_module(
    config: Config, n_channels: int, n_targets: int, part: Part | None = None
) -> SeriesModule:
    """Draw the model's initial weights from the seed and wrap it for training.

    Args:
        config: the run's settings.
        n_channels: features of the windows.
        n_targets: columns to forecast.
        part: the part whose weights are kept; the others' are drawn, a block at a time, and go to
            the meta device. None keeps all.

    Raises:
        UsageError: the optimiser or the schedule of the learning rate cannot be made.
    """
    _check_arguments(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = _build_model(config, n_channels, n_targets, part)
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


def _build_model(config: Config, n_channels: int, n_targets: int, part: Part | None) -> StackModel:
    model = config.model
    linear = model.encoder == "linear"
    encoder = nn.Linear(n_channels, model.hidden_size) if linear else nn.Identity()
    if part is not None and not part.has_encoder:
        encoder.to("meta")
    stack = GRUStack(
        model.hidden_size if linear else n_channels,
        model.hidden_size,
        model.num_layers,
        model.layers_per_block,
        dropout=model.dropout,
        bidirectional=model.bidirectional,
        h_0=model.h_0,
        kept_blocks=None if part is None else part.blocks,
    )
    width = stack.output_size
    head: WindowHead | StepHead
    if model.head == "window":
        head = WindowHead(width, (config.data.horizon, n_targets))
    else:
        head = StepHead(width, n_targets)
    if part is not None and not part.has_head:
        head.to("meta")
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
