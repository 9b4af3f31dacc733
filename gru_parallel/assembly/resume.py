"""Checks, before the run, that it can be resumed from a checkpoint: ckpt_path."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from gru_parallel.assembly.optimizer import scheduler_maker
from gru_parallel.config.plain import by_full_name, plain
from gru_parallel.config.schema import Config
from gru_parallel.data import SeriesDataModule
from gru_parallel.errors import UsageError, counted, in_other_words
from gru_parallel.rules import as_written
from gru_parallel.training import SeriesModule
from gru_parallel.training.epoch_record import EpochRecord
from gru_parallel.training.progress import Progress
from gru_parallel.training.resume import Beginning, check_same_optimizer, resume

SAME = (
    "model.loss",
    "model.quantiles",
    "model.h_0",
    "model.residual",
    "model.encoder",
    "model.segment_length",
    "model.per_channel",
    "model.head",
    "data.input_length",
    "data.min_input_length",
    "data.horizon",
    "data.centre",
    "data.scaling",
    "data.weight",
)
"""Settings that define what is learned, and that weights and data do not always show."""

_LIMIT, _OVERFIT = "trainer.limit_val_batches", "trainer.overfit_batches"

_COMPARED = ("seed", "data", "model", "schedule", "optimizer", "lr_scheduler", "trainer")
"""The sections of a config that the numbers of a run depend on."""


def check_resume(
    saved: Mapping[str, Any], config: Config, module: SeriesModule, data: SeriesDataModule
) -> tuple[Progress, str]:
    """Check that a run can be resumed from a checkpoint.

    Args:
        saved: the checkpoint, whose weights fit.
        config: the run's settings.
        module: of the run.
        data: of the run.

    Returns:
        The progress of the checkpoint, and what a person should know about the resumed run.

    Raises:
        UsageError: the task, the data or the optimiser differs; it names the first difference.
    """
    given, init = f"ckpt_path={config.ckpt_path}", f"init_from={config.ckpt_path}"
    before, now = by_full_name(saved.get("config", {})), by_full_name(plain(config, _COMPARED))
    try:
        if "beginning" not in saved:
            raise UsageError(
                "ckpt_path does not tell how its training began, so that no run can be resumed from"
                " it: an earlier version wrote it; begin a new run with its weights: init_from=..."
            )
        _check_task(before, now)
        done = Progress.of(saved)
        _check_end(done, config)
        if "SeriesDataModule" in saved:
            data.load_state_dict(saved["SeriesDataModule"])
            check_validation(before, now, len(data.dataset("validation")))
        _check_optimizer(saved, module)
    except UsageError as error:
        raise in_other_words(error, {"ckpt_path": given, "init_from=...": init}) from error
    loaders = saved["loops"]["fit_loop"]["state_dict"]
    for position in loaders.get("combined_loader", []):
        # It refuses one in the middle of an epoch of other batches.
        data.train_dataloader().load_state_dict(position)
    return done, _words(done, config, _changes(before, now))


def rate_change(
    saved: Mapping[str, Any], config: Config, module: SeriesModule, n_steps: int | None
) -> str:
    """Say how the learning rate changes where a run is resumed; nothing if it does not.

    Args:
        saved: the checkpoint, from which the run can be resumed.
        config: the run's settings, whose rates have been checked.
        module: of the run.
        n_steps: of the optimiser, in the whole run; None for a run without a known end.
    """
    optimizer = module.new_optimizer()
    make_scheduler = scheduler_maker(config.lr_scheduler)
    scheduler = None if make_scheduler is None else make_scheduler(optimizer, n_steps or -1)
    # It is changed, and that of the run will be, too.
    trial = {**saved, "optimizer_states": [dict(state) for state in saved["optimizer_states"]]}
    resume(trial, optimizer, scheduler, config.lr_scheduler.get("interval", "step"))
    before, now = (
        checkpoint["optimizer_states"][0]["param_groups"][0]["lr"] for checkpoint in (saved, trial)
    )
    if math.isclose(before, now, rel_tol=1e-9):
        return ""
    # That of a schedule past its end is a number of no step.
    last = saved["callbacks"].get(EpochRecord.__qualname__, {}).get("rate", before)
    return (
        f" The learning rate is {now:g} from here on, after {last:g} in the last step: it is that"
        " of a run that had these settings from its start."
    )


def _words(done: Progress, config: Config, changes: Sequence[str]) -> str:
    """Describe what a run is resumed from, whether anything is left to train, and what differs."""
    steps, epochs = counted(done.steps, "step"), counted(done.epochs, "epoch")
    words = f"Resumed from {config.ckpt_path}, which has done {epochs} and {steps}"
    for limit, number in (("max_epochs", done.epochs), ("max_steps", done.steps)):
        at_most = getattr(config.trainer, limit)
        if isinstance(at_most, int) and 0 <= at_most <= number:
            words += (
                f", and trainer.{limit}={at_most}: nothing is left to train, and the run only"
                f" tests; raise trainer.{limit} to train on"
            )
            break
    return f"{words}." + (f" Other settings than there: {', '.join(changes)}." if changes else "")


def _check_task(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in SAME:
        if name in before and _one(before[name]) != _one(now.get(name)):
            raise UsageError(
                f"ckpt_path was written with {_setting(name, before[name])}, and this run has"
                f" {_setting(name, now.get(name))}; keep what it was, or begin a new run with its"
                " weights: init_from=..."
            )


def check_validation(before: Mapping[str, Any], now: Mapping[str, Any], n_windows: int) -> None:
    """Check that val/loss stays that of the same windows: the best is the least of all epochs.

    Args:
        before: the settings of the checkpoint's run, by full name.
        now: those of this run.
        n_windows: of the validation part.

    Raises:
        UsageError: limits leave other windows.
    """
    was, is_ = _limits(before, n_windows), _limits(now, n_windows)
    if _LIMIT not in before or 0 in (was.get(_LIMIT), is_.get(_LIMIT)):
        # An earlier version wrote it, or one of both has no val/loss.
        return
    for name in {**was, **is_}:
        if str(before.get(name)) != str(now.get(name)):
            raise UsageError(
                f"ckpt_path was written with {_setting(name, before.get(name))}, and this run has"
                f" {_setting(name, now.get(name))}: its val/loss would be of other windows than"
                " that of the epochs before, and the best of both would not be the best; keep what"
                " it was, or begin a new run with its weights: init_from=..."
            )


def _limits(settings: Mapping[str, Any], n_windows: int) -> dict[str, Any]:
    """Return the settings that leave out windows of a validation; none, if it is on all."""
    name = _OVERFIT if settings.get(_OVERFIT) else _LIMIT
    limit = settings.get(name)
    # A whole number counts batches, one with a point is their share.
    if limit is None or str(limit) == "1.0":
        return {}
    size, order = settings["data.batch_size"], settings["data.order"]
    # Batches of streams are not filled up.
    if isinstance(limit, int) and order != "streams" and limit * size >= n_windows:
        return {}
    return {name: limit, "data.batch_size": size, "data.order": order}


def _check_end(done: Progress, config: Config) -> None:
    max_epochs = config.trainer.max_epochs
    if isinstance(max_epochs, int) and 0 <= max_epochs < done.epochs:
        raise UsageError(
            f"ckpt_path has done {counted(done.epochs, 'epoch')}, more than trainer.max_epochs="
            f"{max_epochs}; set it to at least {done.epochs}, which only tests, or to more."
        )


def _check_optimizer(saved: Mapping[str, Any], module: SeriesModule) -> None:
    """Check that the optimiser is that of the checkpoint, which has the states it needs."""
    before = Beginning(**saved["beginning"])
    check_same_optimizer(before, module.new_optimizer())
    optimizer = module.make_optimizer([nn.Parameter(torch.zeros(2, 2))])
    (states,) = (state["state"] for state in saved["optimizer_states"])
    if not states or not before.optimizer.startswith("torch.optim."):
        return
    needed, found = _states_of(optimizer), set(next(iter(states.values())))
    # SGD works without its momentum's state.
    missing = sorted(needed - found) if found else []
    if missing:
        changed = [
            f"optimizer.{name}={value}"
            for name, value in optimizer.defaults.items()
            if before.arguments.get(name) != value
        ]
        raise UsageError(
            f"ckpt_path was written without {missing[0]} in the optimiser's states, which"
            f" {', '.join(changed) or before.optimizer} needs from the first step on; keep what it"
            " was, or begin a new run with its weights: init_from=..."
        )


def _states_of(optimizer: Optimizer) -> set[str]:
    """Take a step with one weight, and return the names of its states."""
    (weight,) = optimizer.param_groups[0]["params"]

    def closure() -> float:
        weight.grad = torch.zeros_like(weight)
        return 0.0

    closure()
    optimizer.step(closure)
    return set(optimizer.state[weight])


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    was = {name: as_written(value) for name, value in before.items()}
    return [
        f"{_setting(name, value)} (before: {was.get(name, 'not given')})"
        for name, value in now.items()
        if before and value != {} and (name not in before or before[name] != value)
    ]


def _one(value: Any) -> Any:
    """Return the value of a list whose entries are all the same."""
    is_one = isinstance(value, list) and len(set(map(str, value))) == 1
    return value[0] if is_one else value


def _setting(name: str, value: Any) -> str:
    return f"{name}={as_written(value)}"
