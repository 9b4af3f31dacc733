"""Checks, before the run, that it can go on from a checkpoint: ckpt_path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from gru_parallel.assembly.checkpoint import check_weights, read_checkpoint
from gru_parallel.config.schema import Config, as_written, plain
from gru_parallel.data import SeriesDataModule
from gru_parallel.errors import UsageError, in_other_words
from gru_parallel.training import SeriesModule
from gru_parallel.training.going_on import Beginning, Progress, check_same_optimizer

SAME = (
    "model.loss",
    "model.h_0",
    "model.head",
    "data.input_length",
    "data.min_input_length",
    "data.horizon",
    "data.centre",
)
"""Settings that say what is learned, and that neither weights nor data show in every case."""

_COMPARED = ("seed", "data", "model", "optimizer", "lr_scheduler", "trainer")
"""What of a config makes the numbers of a run."""


@dataclass(frozen=True)
class GoingOn:
    """What a run goes on from.

    Attributes:
        path: of the checkpoint, as it is given.
        progress: how far it has come.
        changes: settings that are others than before, as a person reads them.
    """

    path: Path
    progress: Progress
    changes: tuple[str, ...]

    def words(self, config: Config) -> str:
        """Say where the run goes on, and why there is nothing to train where that is so."""
        steps, epochs = self.progress.steps, self.progress.epochs
        done = f"Goes on from {self.path}, which has done {_count(epochs, 'epoch')} and"
        done = f"{done} {_count(steps, 'step')}"
        for limit, number in (("max_epochs", epochs), ("max_steps", steps)):
            at_most = getattr(config.trainer, limit)
            if isinstance(at_most, int) and 0 <= at_most <= number:
                done += (
                    f", and trainer.{limit}={at_most}: nothing is left to train, and the run only"
                    f" tests; raise trainer.{limit} to train on"
                )
                break
        others = f" Other settings than there: {', '.join(self.changes)}." if self.changes else ""
        return f"{done}.{others}"


def check_going_on(
    path: Path, config: Config, module: SeriesModule, data: SeriesDataModule
) -> GoingOn:
    """Check that a run can go on from a checkpoint.

    Args:
        path: of the checkpoint.
        config: the run's settings.
        module: of the run.
        data: of the run.

    Raises:
        UsageError: the model, its task, the data or the optimiser is another; names the first
            difference.
    """
    what = f"ckpt_path={path}"
    saved = read_checkpoint("ckpt_path", path)
    if "beginning" not in saved:
        raise UsageError(
            f"{what} does not tell how its training began, so that none can go on from it: an"
            f" earlier version wrote it; begin a new run with its weights: init_from={path}."
        )
    check_weights(what, saved["state_dict"], module)
    before = saved.get("config", {})
    _check_task(what, before, config)
    progress = Progress.of(saved)
    _check_end(what, progress, config)
    try:
        if "SeriesDataModule" in saved:
            data.load_state_dict(saved["SeriesDataModule"])
        _check_optimizer(saved, module)
    except UsageError as error:
        raise in_other_words(
            error, {"ckpt_path": what, "init_from=...": f"init_from={path}"}
        ) from error
    loaders = saved["loops"]["fit_loop"]["state_dict"]
    for place in loaders.get("combined_loader", []):
        # Refuses a place in the middle of an epoch of other batches.
        data.train_dataloader().load_state_dict(place)
    return GoingOn(path, progress, _changes(before, config))


def _check_task(what: str, before: dict[str, Any], config: Config) -> None:
    was, now = _by_name(before), _by_name(plain(config, ("data", "model")))
    for name in SAME:
        if name in was and _one(was[name]) != _one(now[name]):
            raise UsageError(
                f"{what} was written with {_setting(name, was[name])}, and this run has"
                f" {_setting(name, now[name])}; keep what it was, or begin a new run with its"
                f" weights: init_from={what.partition('=')[2]}"
            )


def _check_end(what: str, progress: Progress, config: Config) -> None:
    max_epochs = config.trainer.max_epochs
    if isinstance(max_epochs, int) and 0 <= max_epochs < progress.epochs:
        raise UsageError(
            f"{what} has done {_count(progress.epochs, 'epoch')}, more than trainer.max_epochs="
            f"{max_epochs}; set it to at least {progress.epochs}, which only tests, or to more."
        )


def _check_optimizer(saved: dict[str, Any], module: SeriesModule) -> None:
    """Check that the optimiser is the checkpoint's, and finds the states that it needs."""
    before = Beginning(**saved["beginning"])
    optimizer = module.make_optimizer([nn.Parameter(torch.zeros(2, 2))])
    check_same_optimizer(before, optimizer)
    (states,) = (state["state"] for state in saved["optimizer_states"])
    if not states or not before.optimizer.startswith("torch.optim."):
        return
    needed, found = _states_of(optimizer), set(next(iter(states.values())))
    # SGD looks whether its momentum is there.
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


def _changes(before: dict[str, Any], config: Config) -> tuple[str, ...]:
    was, now = _by_name(before), _by_name(plain(config, _COMPARED))
    return tuple(
        f"{_setting(name, value)} (before: {as_written(was[name])})"
        if name in was
        else f"{_setting(name, value)} (before: not given)"
        for name, value in now.items()
        if was and (name not in was or was[name] != value)
    )


def _by_name(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name every value of a config by its full name."""
    named: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            named |= _by_name(value, f"{prefix}{key}.")
        else:
            named[f"{prefix}{key}"] = value
    return named


def _one(value: Any) -> Any:
    """Take a list of one value for all blocks as that value."""
    is_one = isinstance(value, list) and len(set(map(str, value))) == 1
    return value[0] if is_one else value


def _setting(name: str, value: Any) -> str:
    return f"{name}={as_written(value)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
