"""From the settings to the model, wrapped for training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from gru_parallel.assembly.optimizer import check_optimizer, optimizer_maker, scheduler_maker
from gru_parallel.config.schema import Config
from gru_parallel.model import LOSSES, GRUStack, StackModel, StepHead, WindowHead
from gru_parallel.placement import Plan
from gru_parallel.planning import n_places, places_of_stages
from gru_parallel.training import SeriesModule


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
    check_optimizer(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = _build_model(config, n_channels, n_targets, part)
    return SeriesModule(
        model,
        LOSSES[config.model.loss],
        optimizer_maker(config.optimizer),
        scheduler_maker(config.lr_scheduler),
        schedule_interval=config.lr_scheduler.get("interval", "step"),
        monitor=config.lr_scheduler.get("monitor", "val/loss"),
        seed=config.seed,
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
