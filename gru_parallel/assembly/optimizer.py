"""From the settings to the optimiser and the schedule of its rate, both tried before the run."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from gru_parallel.assembly.length import RunLength
from gru_parallel.choices import DECAYED
from gru_parallel.config.check_training import TOTAL_STEPS, has_schedule, is_plateau
from gru_parallel.config.schema import Config
from gru_parallel.config.targets import check_arguments, find_target
from gru_parallel.errors import UsageError
from gru_parallel.rules import as_written, one_per_block
from gru_parallel.training.optimizer_checks import check_carrying, check_clipping

if TYPE_CHECKING:
    # With Lightning, which nothing here needs.
    from gru_parallel.training.module import MakeOptimizer, MakeScheduler

WEIGHT_DECAY_ON = "weight_decay_on"
"""The setting of the optimiser that is not an argument of its class."""

# What a class of torch or of the user raises if its arguments cannot work.
_FAULTS = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)

_SHORTEST_TRIAL = 100
"""Steps of a plateau schedule that are tried, however short the run: more than its patience."""

_LONGEST_TRIAL = 10_000
"""Steps of a schedule that are tried one by one; they take about a tenth of a second."""


def check_optimizer(config: Config) -> None:
    """Create an optimiser and a schedule on trial, to find wrong arguments before the run.

    Raises:
        UsageError: one of them cannot be created, or does not go with other settings.
    """
    optimizer = _any_optimizer(config)
    _check_decay(config.optimizer, optimizer)
    clip_val, is_scaled = config.trainer.gradient_clip_val, config.trainer.scales_loss
    check_clipping(optimizer, clip_val, is_scaled=is_scaled)
    n_runs = _try_step(config, optimizer)
    if "carry" in one_per_block(config.model.h_0):
        check_carrying(optimizer, n_runs)
    make_scheduler = scheduler_maker(config.lr_scheduler)
    if make_scheduler is not None:
        make_scheduler(optimizer, 1)
    if TOTAL_STEPS in config.lr_scheduler.values() and config.trainer.is_endless:
        raise UsageError(
            f"trainer.max_epochs={config.trainer.max_epochs} gives a run without a known end, and"
            " this lr_scheduler needs one; set trainer.max_epochs or trainer.max_steps."
        )


def check_rates(config: Config, length: RunLength) -> None:
    """Check the rates of the whole run.

    Raises:
        UsageError: the schedule fails, or a rate is negative or not finite.
    """
    make_scheduler = scheduler_maker(config.lr_scheduler)
    if make_scheduler is None:
        return
    optimizer = _any_optimizer(config)
    scheduler = make_scheduler(optimizer, -1 if length.n_steps is None else length.n_steps)
    by_step = config.lr_scheduler.get("interval", "step") == "step"
    n_moves = length.n_steps if by_step else length.n_epochs
    unit = "steps" if by_step else "epochs"
    given = _given("lr_scheduler", config.lr_scheduler)
    if n_moves is not None and is_plateau(config.lr_scheduler):
        n_moves = max(n_moves, _SHORTEST_TRIAL)
    n_tried = _LONGEST_TRIAL if n_moves is None else min(n_moves, _LONGEST_TRIAL)
    highest = 0.0
    with warnings.catch_warnings():
        # torch warns that the optimiser takes no steps.
        warnings.simplefilter("ignore")
        try:
            for move in range(n_tried):
                _check_rate(optimizer, f"{given} gives", f"after {unit[:-1]} {move}")
                highest = max(highest, *(float(group["lr"]) for group in optimizer.param_groups))
                _move(scheduler)
            if n_moves is not None and n_moves > n_tried:
                scheduler.last_epoch = n_moves - 1
                _move(scheduler)
        except _FAULTS as error:
            if isinstance(error, UsageError):
                raise
            reason = " ".join(str(error).split()).rstrip(".")
            raise UsageError(
                f"{given} cannot go through the {n_tried if n_moves is None else n_moves} {unit} of"
                f" the run: {reason}; use other values, such as the word {TOTAL_STEPS} for the"
                " steps of the run."
            ) from error
    if n_tried and not highest:
        raise UsageError(
            f"{given} gives the learning rate 0 in the whole run, which would learn nothing; use"
            " values that give a rate above 0."
        )


def optimizer_maker(section: DictConfig) -> MakeOptimizer:
    """Return a function that creates the optimiser of the settings from parameters."""

    def make(parameters: list[nn.Parameter] | list[dict[str, Any]]) -> Optimizer:
        optimizer: Optimizer = _make("optimizer", section, parameters, Optimizer)
        return optimizer

    return make


def scheduler_maker(section: DictConfig) -> MakeScheduler | None:
    """Return a function that creates the schedule of the rate from an optimiser; None for none."""
    if not has_schedule(section):
        return None

    def make(optimizer: Optimizer, n_steps: int) -> LRScheduler:
        settings = {TOTAL_STEPS: n_steps}
        scheduler: LRScheduler = _make("lr_scheduler", section, optimizer, LRScheduler, settings)
        return scheduler

    return make


def _any_optimizer(config: Config) -> Optimizer:
    return optimizer_maker(config.optimizer)([nn.Parameter(torch.zeros(1))])


def _check_decay(section: DictConfig, optimizer: Optimizer) -> None:
    """Refuse a choice of weights that decay, where there is none or it has no effect."""
    given = section.get(WEIGHT_DECAY_ON, DECAYED[0])
    written = f"optimizer.{WEIGHT_DECAY_ON}={as_written(given)}"
    if given not in DECAYED:
        raise UsageError(f"{written} is not a valid choice; use one of {', '.join(DECAYED)}.")
    if given != DECAYED[0] and not optimizer.defaults.get("weight_decay"):
        plus = "" if "weight_decay" in section else "+"
        raise UsageError(
            f"{written} leaves weights out of a decay that there is not; use one above 0, as in"
            f" {plus}optimizer.weight_decay=0.01, or leave it out."
        )


def _try_step(config: Config, optimizer: Optimizer) -> int:
    """Take a step, because some wrong arguments are refused only then.

    Returns:
        How often it has asked for the loss of its batch.
    """
    if config.optimizer.get("capturable") and torch.accelerator.is_available():
        # It does not work on a CPU, and which accelerator this rank has is not known here.
        return 1
    weight = optimizer.param_groups[0]["params"][0]
    # Not 0, where one that looks for the lowest loss has found it.
    weight.grad = torch.ones_like(weight)
    n_runs = 0

    def closure() -> float:
        nonlocal n_runs
        n_runs += 1
        return 0.0

    try:
        optimizer.step(closure)
    except _FAULTS as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UsageError(
            f"{_given('optimizer', config.optimizer)} takes no step: {reason}; use another, or"
            " other values."
        ) from error
    return n_runs


def _move(scheduler: LRScheduler) -> None:
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(0.0)
    else:
        scheduler.step()


def _check_rate(optimizer: Optimizer, given: str, when: str) -> None:
    for group in optimizer.param_groups:
        rate = float(group["lr"])
        if not 0 <= rate < math.inf:
            raise UsageError(
                f"{given} the learning rate {rate:g} {when}; use values that keep it at 0 or above."
            )


def _make(
    name: str,
    section: DictConfig,
    subject: Any,
    kind: type[Any],
    words: dict[str, Any] | None = None,
) -> Any:
    """Call the section's class, a `kind`, with `subject` and the section's other settings.

    A setting whose value is one of `words` gets the value of that word.
    """
    make = find_target(name, section)
    others = _not_arguments(name, section)
    words = words or {}
    check_arguments(name, section, make, n_given=1, others=others, words=list(words), finite=True)
    settings = _settings(section)
    arguments = {
        key: words.get(value, value) if isinstance(value, str) else value
        for key, value in settings.items()
        if key not in ("_target_", *others)
    }
    try:
        made = make(subject, **arguments)
    except _FAULTS as error:
        message = " ".join(str(error).split()).rstrip(".")
        raise UsageError(
            f"{_given(name, section)} cannot be made: {message}; use values that the class takes."
        ) from error
    if not isinstance(made, kind):
        raise UsageError(
            f"{name} ({section._target_}) is not an {kind.__name__} of torch's; give a class"
            " that is one."
        )
    return made


def _not_arguments(name: str, section: DictConfig) -> tuple[str, ...]:
    """Return the settings of a section that are not arguments of its class."""
    if name == "optimizer":
        return (WEIGHT_DECAY_ON,)
    return ("interval", "monitor") if is_plateau(section) else ("interval",)


def _settings(section: DictConfig) -> dict[str, Any]:
    settings = OmegaConf.to_container(section, resolve=True)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def _given(name: str, section: DictConfig) -> str:
    """Describe the class and its arguments as they were given."""
    given = ", ".join(
        f"{name}.{key}={as_written(value)}"
        for key, value in _settings(section).items()
        if key not in ("_target_", *_not_arguments(name, section))
    )
    return f"{name} ({section._target_}) with {given or 'no arguments'}"
