"""Every flag of the Trainer does through the pipeline what it does on a single device."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    StochasticWeightAveraging,
)
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau

from gru_parallel.training import SeriesModule
from tests.builders import make_plan
from tests.runs import Run, assert_same_run, fit
from tests.runs import make_module as make_small_module

PLAN = make_plan([1, 1], n_chunks=2)
make_module = partial(make_small_module, num_layers=2)


def cosine(optimizer: Any, n_steps: int) -> Any:
    return CosineAnnealingLR(optimizer, T_max=n_steps)


def one_cycle(optimizer: Any, n_steps: int) -> Any:
    return OneCycleLR(optimizer, max_lr=0.5, total_steps=n_steps)


def plateau(optimizer: Any, n_steps: int) -> Any:
    # The threshold counts every epoch as one without progress.
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.9)


class Case:
    """A flag under test: the Trainer's options, and the module where it matters."""

    def __init__(self, module: Callable[[], SeriesModule] = make_module, **options: Any) -> None:
        self.make_module = module
        self.options = options

    @property
    def n_epochs(self) -> int:
        """Of the run without the flag that it is held against."""
        return max(1, self.options.get("max_epochs", 1))

    def run(self, plan: Any) -> Run:
        options = {"max_epochs": 1} | self.options
        make_callbacks = options.pop("make_callbacks", list)
        return fit(plan, self.make_module(), callbacks=make_callbacks(), **options)


CASES = {
    "clip by norm": Case(gradient_clip_val=0.1),
    "clip by value": Case(gradient_clip_val=0.01, gradient_clip_algorithm="value"),
    # Five batches make two whole accumulations and an incomplete one.
    "accumulate": Case(accumulate_grad_batches=2),
    "accumulate and clip": Case(accumulate_grad_batches=3, gradient_clip_val=0.1),
    "accumulate more than there is": Case(accumulate_grad_batches=9),
    "accumulate later": Case(
        make_callbacks=lambda: [GradientAccumulationScheduler({1: 2})], max_epochs=2
    ),
    "average from an epoch on": Case(
        make_callbacks=lambda: [StochasticWeightAveraging(0.1, swa_epoch_start=1)], max_epochs=2
    ),
    "moving average": Case(make_callbacks=lambda: [EMAWeightAveraging(decay=0.5)]),
    "cosine": Case(partial(make_module, make_scheduler=cosine)),
    "one_cycle": Case(partial(make_module, make_scheduler=one_cycle)),
    "cosine with accumulation": Case(
        partial(make_module, make_scheduler=cosine), accumulate_grad_batches=2
    ),
    "plateau": Case(
        partial(make_module, make_scheduler=plateau, schedule_interval="epoch"), max_epochs=3
    ),
    "early stopping": Case(
        # No epoch is good enough, so the run ends after the third of six.
        make_callbacks=lambda: [EarlyStopping("val/loss", min_delta=9.0, patience=2)],
        limit_train_batches=2,
        max_epochs=6,
    ),
    "fast_dev_run": Case(fast_dev_run=2),
    "limit_train_batches": Case(limit_train_batches=3),
    "limit_train_batches by share": Case(limit_train_batches=0.5),
    "limit_val_batches": Case(limit_val_batches=1),
    "overfit_batches": Case(overfit_batches=1),
    "max_steps": Case(max_epochs=-1, max_steps=7),
    "val_check_interval": Case(val_check_interval=2),
    "detect_anomaly": Case(detect_anomaly=True),
    "64-true": Case(precision="64-true"),
}
NO_EFFECT = ("detect_anomaly",)
WITH_OTHERS = ("clip by norm", "accumulate", "cosine")
"""What others of the cases have, too: for `make test-long` alone."""


@cache
def without_flags(n_epochs: int) -> Run:
    return fit(None, make_module(), max_epochs=n_epochs)


def differs(run: Run, other: Run) -> bool:
    return (
        run.losses.shape != other.losses.shape
        or run.losses.dtype != other.losses.dtype
        or not torch.equal(run.losses, other.losses)
        or len(run.validation) != len(other.validation)
        or any(a != b for a, b in zip(run.validation, other.validation, strict=True))
    )


@pytest.mark.filterwarnings(
    "ignore:You requested to overfit but enabled train dataloader shuffling"
)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] if name in WITH_OTHERS else []) for name in CASES],
)
def test_a_flag_does_the_same_through_the_pipeline_as_on_one_device(
    name: str, no_thread_left: None
) -> None:
    case = CASES[name]

    pipelined, single = case.run(PLAN), case.run(None)

    tolerance = 1e-10 if name == "64-true" else 1e-5
    assert_same_run(pipelined, single, tolerance)
    # A flag that both runs ignored would have proved nothing.
    assert differs(single, without_flags(case.n_epochs)) or name in NO_EFFECT
    assert pipelined.trainer.current_epoch == single.trainer.current_epoch
    assert pipelined.trainer.global_step == single.trainer.global_step
