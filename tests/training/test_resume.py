"""What a resumed run asks of optimiser and schedule is what it gets, at the step it is at."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

from gru_parallel.errors import UsageError
from gru_parallel.training.progress import Progress, steps_of_run
from tests.builders import make_plan
from tests.grids import covering
from tests.runs import N_BATCHES, Run, SaveAfter, fit, make_data, make_module

PLAN = make_plan([1, 1])
N_EPOCHS = 3
adamw: Callable[..., Optimizer] = partial(AdamW, lr=1e-2)


def cosine(optimizer: Optimizer, n_steps: int) -> LRScheduler:
    return CosineAnnealingLR(optimizer, T_max=n_steps)


def one_cycle(optimizer: Optimizer, n_steps: int) -> LRScheduler:
    return OneCycleLR(optimizer, max_lr=1e-2, total_steps=n_steps)


def halving(optimizer: Optimizer, n_steps: int) -> LRScheduler:
    return StepLR(optimizer, step_size=2, gamma=0.5)


def plateau(optimizer: Optimizer, n_steps: int, **options: Any) -> Any:
    return ReduceLROnPlateau(optimizer, factor=0.5, threshold=0.9, **options)


def train(
    max_epochs: int,
    make_optimizer: Callable[..., Optimizer] = adamw,
    make_scheduler: Any = None,
    interval: str = "step",
    plan: Any = PLAN,
    **options: Any,
) -> Run:
    module = make_module(
        make_optimizer,
        num_layers=2,
        make_scheduler=make_scheduler,
        schedule_interval=interval,
    )
    # Schedules by steps ask for no validation.
    defaults = {"limit_val_batches": 0} if interval == "step" else {}
    return fit(plan, module, max_epochs=max_epochs, **defaults | options)


def saved(run: Run, folder: Path) -> Path:
    run.trainer.save_checkpoint(folder / "first.ckpt")
    return folder / "first.ckpt"


def group_of(run: Run) -> dict[str, Any]:
    (optimizer,) = run.trainer.optimizers
    return optimizer.param_groups[0]


SCHEDULES = {
    "cosine": (cosine, "step"),
    "one_cycle": (one_cycle, "step"),
    "by epochs": (halving, "epoch"),
}


@cache
def straight_run(name: str) -> Run:
    """The run of all epochs that nothing interrupts."""
    schedule, interval = SCHEDULES[name]
    return train(N_EPOCHS, make_scheduler=schedule, interval=interval)


@cache
def short_run() -> Run:
    """A run of an epoch at one rate."""
    return train(1)


@covering(1, name=SCHEDULES, before=["the same, shorter", "none"])
def test_a_schedule_has_the_rates_of_the_whole_run_from_the_checkpoint_on(
    name: str, before: str, tmp_path: Path
) -> None:
    schedule, interval = SCHEDULES[name]
    straight = straight_run(name)
    first = train(1, make_scheduler=None if before == "none" else schedule, interval=interval)

    path = saved(first, tmp_path)
    rest = train(N_EPOCHS, make_scheduler=schedule, interval=interval, ckpt_path=path)

    assert rest.rates == straight.rates[N_BATCHES:]
    assert group_of(rest)["betas"] == group_of(straight)["betas"]


@pytest.mark.parametrize("name", ["one_cycle", "by epochs"])
def test_so_it_has_in_the_middle_of_an_epoch(name: str, tmp_path: Path) -> None:
    schedule, interval = SCHEDULES[name]
    path = tmp_path / "middle.ckpt"
    train(2, make_scheduler=schedule, interval=interval, callbacks=[SaveAfter(7, path)])

    rest = train(N_EPOCHS, make_scheduler=schedule, interval=interval, ckpt_path=path)

    assert rest.rates == straight_run(name).rates[7:]


def test_so_it_has_under_any_strategy(tmp_path: Path) -> None:
    straight = train(N_EPOCHS, make_scheduler=cosine, plan=None)
    first = train(1, make_scheduler=cosine, plan=None)

    rest = train(N_EPOCHS, make_scheduler=cosine, plan=None, ckpt_path=saved(first, tmp_path))

    assert rest.rates == straight.rates[N_BATCHES:]


def test_epochs_of_other_batches_count_as_the_steps_that_they_took(tmp_path: Path) -> None:
    n_steps: list[int] = []

    def counted(optimizer: Optimizer, n: int) -> LRScheduler:
        n_steps.append(n)
        return cosine(optimizer, n)

    first = train(1, make_scheduler=counted)
    data = make_data(batch_size=32)

    rest = train(3, make_scheduler=counted, data=data, ckpt_path=saved(first, tmp_path))

    assert n_steps == [N_BATCHES, N_BATCHES + 2 * 3]
    assert rest.trainer.global_step == n_steps[-1]
    assert rest.rates[-1] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("schedule", [None, cosine, plateau])
def test_arguments_given_anew_are_used_and_moments_kept(schedule: Any, tmp_path: Path) -> None:
    anew = partial(AdamW, lr=2e-2, weight_decay=0.3, betas=(0.8, 0.99))
    interval = "epoch" if schedule is plateau else "step"
    first = train(1, make_scheduler=schedule, interval=interval)

    rest = train(
        2, anew, make_scheduler=schedule, interval=interval, ckpt_path=saved(first, tmp_path)
    )

    group = group_of(rest)
    assert (group["weight_decay"], group["betas"]) == (0.3, (0.8, 0.99))
    if schedule is not cosine:
        assert rest.rates == [2e-2] * N_BATCHES
    (optimizer,) = rest.trainer.optimizers
    assert {float(state["step"]) for state in optimizer.state.values()} == {2.0 * N_BATCHES}


def test_a_schedule_that_is_gone_leaves_the_rate_that_is_asked_for(tmp_path: Path) -> None:
    first = train(1, make_scheduler=one_cycle)

    rest = train(2, ckpt_path=saved(first, tmp_path))

    assert rest.rates == [1e-2] * N_BATCHES
    assert group_of(rest)["betas"] == (0.9, 0.999)


def test_a_plateau_keeps_what_it_has_lowered_and_takes_a_new_patience(tmp_path: Path) -> None:
    def patient(optimizer: Optimizer, n_steps: int) -> Any:
        return plateau(optimizer, n_steps, patience=1)

    impatient = partial(plateau, patience=0)
    options: dict[str, Any] = {"interval": "epoch", "make_optimizer": partial(SGD, lr=0.5)}
    first = train(2, make_scheduler=impatient, **options)
    assert first.rates[-1] == 0.5
    path = saved(first, tmp_path)

    rest = train(4, make_scheduler=patient, ckpt_path=path, **options)
    again = train(3, partial(SGD, lr=0.3), impatient, "epoch", ckpt_path=path)

    assert rest.rates == [0.25] * 2 * N_BATCHES
    assert again.rates == [0.3] * N_BATCHES


def test_a_plateau_that_is_added_begins_with_the_rate(tmp_path: Path) -> None:
    first = train(1)

    rest = train(
        2,
        make_scheduler=partial(plateau, patience=0),
        interval="epoch",
        ckpt_path=saved(first, tmp_path),
    )

    assert rest.rates == [1e-2] * N_BATCHES


@pytest.mark.parametrize("other", [Adam, SGD, RMSprop])
def test_another_optimiser_is_refused(other: type[Optimizer], tmp_path: Path) -> None:
    path = saved(short_run(), tmp_path)

    with pytest.raises(UsageError, match=r"optimiser torch\.optim\.adamw\.AdamW, and this run has"):
        train(2, partial(other, lr=1e-3), ckpt_path=path)


def test_other_data_is_refused_in_training_and_welcome_in_a_test(tmp_path: Path) -> None:
    first = train(1)
    path, other = saved(first, tmp_path), make_data(seed=1)

    with pytest.raises(UsageError, match="column x0 of the training part has mean"):
        train(2, data=other, ckpt_path=path)
    (metrics,) = first.trainer.test(first.module, other, ckpt_path=path, verbose=False)
    assert metrics["test/mse"] > 0


@pytest.mark.parametrize(
    ("length", "done", "n_steps"),
    [
        ((5, 1, 4, -1), None, 20),
        ((5, 2, 4, -1), None, 12),
        ((5, 1, 4, 7), None, 7),
        ((5, 1, -1, -1), None, -1),
        ((5, 1, -1, 30), Progress(10, 2, 0), 30),
        ((float("inf"), 1, 4, 30), None, 30),
        ((5, 1, 4, -1), Progress(10, 2, 0), 20),
        ((5, 1, 4, -1), Progress(12, 2, 2), 20),
        ((3, 1, 4, -1), Progress(10, 2, 0), 16),
        ((5, 2, 4, -1), Progress(7, 2, 2), 12),
    ],
)
def test_the_steps_of_a_run_are_those_done_and_those_to_come(
    length: tuple[float, int, int, int], done: Progress | None, n_steps: int
) -> None:
    assert steps_of_run(*length, done) == n_steps


def test_a_checkpoint_loads_without_running_code(tmp_path: Path) -> None:
    path = saved(train(1, make_scheduler=one_cycle), tmp_path)

    beginning = torch.load(path, weights_only=True)["beginning"]

    assert beginning["optimizer"] == "torch.optim.adamw.AdamW"
    assert beginning["scheduler"] == "torch.optim.lr_scheduler.OneCycleLR"
