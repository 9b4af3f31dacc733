"""What a resumed run takes of the optimiser and its schedule from the checkpoint.

Moments, steps and the position in the epoch are those of the checkpoint; rates and all other
arguments are those of this run, at the step that it has reached. So a run that is resumed for more
epochs has the rates of one that was that long from the start.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from gru_parallel.errors import UsageError, counted
from gru_parallel.training.progress import Progress

Scheduler = LRScheduler | ReduceLROnPlateau

_FOUND_BY_METRIC = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
"""The parts of its state that a schedule which watches a metric has found out."""


@dataclass(frozen=True)
class Beginning:
    """An optimiser and its schedule before their first step: what a run asks for.

    Attributes:
        optimizer: full name of its class.
        arguments: of the optimiser, before the schedule has changed any.
        groups: settings of each group of weights.
        scheduler: full name of the schedule's class; empty for none.
        schedule: its state.
        interval: "step" or "epoch": how often it advances.
    """

    optimizer: str
    arguments: dict[str, Any]
    groups: list[dict[str, Any]]
    scheduler: str
    schedule: dict[str, Any]
    interval: str

    @classmethod
    def of(cls, optimizer: Optimizer, scheduler: Scheduler | None, interval: str) -> Beginning:
        """Record an optimiser and a schedule that have just been created."""
        return cls(
            class_name(optimizer),
            deepcopy(optimizer.defaults),
            deepcopy(settings_of(optimizer)),
            "" if scheduler is None else class_name(scheduler),
            {} if scheduler is None else deepcopy(scheduler.state_dict()),
            interval,
        )


def resume(
    checkpoint: dict[str, Any], optimizer: Optimizer, scheduler: Scheduler | None, interval: str
) -> None:
    """Replace the settings of the checkpoint's run by those of this run.

    If both are the same, the checkpoint stays as it is.

    Args:
        checkpoint: about to be loaded; it is changed.
        optimizer: of this run, just created.
        scheduler: of this run, just created.
        interval: how often it advances.

    Raises:
        UsageError: the checkpoint has another optimiser, or is beyond the end of the schedule.
    """
    if "beginning" not in checkpoint or "optimizer_states" not in checkpoint:
        return
    before = Beginning(**checkpoint["beginning"])
    now = Beginning.of(optimizer, scheduler, interval)
    check_same_optimizer(before, optimizer)
    if now == before:
        return
    keeps_rates = False
    if isinstance(scheduler, ReduceLROnPlateau):
        checkpoint["lr_schedulers"] = [_watching_on(before, now, checkpoint)]
        keeps_rates = before.scheduler == now.scheduler and _rates(before) == _rates(now)
    elif scheduler is not None:
        progress = Progress.of(checkpoint)
        n_moves = progress.steps if interval == "step" else progress.epochs
        checkpoint["lr_schedulers"] = [_moved(scheduler, n_moves)]
    (saved,) = checkpoint["optimizer_states"]
    kept = ("params", "lr") if keeps_rates else ("params",)
    saved["param_groups"] = [
        settings | {name: group[name] for name in kept}
        for settings, group in zip(settings_of(optimizer), saved["param_groups"], strict=True)
    ]


def check_same_optimizer(before: Beginning, optimizer: Optimizer) -> None:
    """Raise a UsageError if the checkpoint has another optimiser, or other groups of weights."""
    now = class_name(optimizer)
    if now != before.optimizer:
        raise UsageError(
            f"ckpt_path was written with the optimiser {before.optimizer}, and this run has {now},"
            f" which cannot use its moments; set optimizer as it was (optimizer._target_="
            f"{before.optimizer}), or begin a new run with its weights: init_from=..."
        )
    if len(before.groups) != len(optimizer.param_groups):
        raise UsageError(
            f"ckpt_path was written by an optimiser with {counted(len(before.groups), 'group')} of"
            f" weights, and this run has {len(optimizer.param_groups)}; set optimizer."
            "weight_decay_on as it was, or begin a new run with its weights: init_from=..."
        )


def _moved(scheduler: LRScheduler, n_moves: int) -> dict[str, Any]:
    """Advance a schedule from its beginning, as the run would have; return its state."""
    with warnings.catch_warnings():
        # torch warns that the optimiser makes no steps between those of the schedule.
        warnings.simplefilter("ignore")
        for _ in range(n_moves):
            scheduler.step()
    return scheduler.state_dict()


def _watching_on(
    before: Beginning, now: Beginning, checkpoint: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the state of a schedule that watches a metric, resumed if it was the same before."""
    if before.scheduler != now.scheduler or before.schedule["mode"] != now.schedule["mode"]:
        return now.schedule
    (saved,) = checkpoint["lr_schedulers"]
    return now.schedule | {name: saved[name] for name in _FOUND_BY_METRIC}


def _rates(beginning: Beginning) -> list[float]:
    return [group["lr"] for group in beginning.groups]


def class_name(thing: object) -> str:
    """Return the full name of a thing's class."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def settings_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return the settings of each of an optimiser's groups, without its weights."""
    return [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
