"""Ctrl-C ends a run after the batch under way, with a checkpoint to go on from."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from gru_parallel.training.interrupt import InterruptedRunError, StopAtInterrupt
from tests.builders import make_plan
from tests.interrupts import PressCtrlC
from tests.runs import Run, adamw, fit, make_data, make_module

PLAN = make_plan([2, 2], n_micro_batches=2, n_chunks=3)


@pytest.fixture(autouse=True)
def python_handles_ctrl_c() -> Iterator[None]:
    """Start and end with Python's own handler, whatever Lightning leaves behind."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)


def cosine(optimizer: Any, n_steps: int) -> Any:
    return CosineAnnealingLR(optimizer, T_max=n_steps)


def plateau(optimizer: Any, n_steps: int) -> Any:
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.9)


def train(scheduler: str = "cosine", **options: Any) -> Run:
    schedule: Any = cosine if scheduler == "cosine" else plateau
    interval = "step" if scheduler == "cosine" else "epoch"
    module = make_module(adamw, dropout=0.3, make_scheduler=schedule, schedule_interval=interval)
    return fit(PLAN, module, **options)


# (hook, batch: when Ctrl-C comes; n_done: batches trained on when the run ends, n_validated:
# validations that were run to their end)
MOMENTS: dict[str, tuple[str, int, int, int, dict[str, Any]]] = {
    "in an epoch": ("on_train_batch_start", 6, 7, 1, {}),
    "at its last batch": ("on_train_batch_start", 4, 5, 0, {}),
    "in a validation": ("on_validation_batch_start", 4, 5, 0, {}),
    "in the second batch of a validation": ("on_validation_batch_end", 4, 5, 0, {}),
    "in the last validation": ("on_validation_batch_start", 9, 10, 1, {}),
    "in a validation within an epoch": (
        "on_validation_batch_start",
        2,
        3,
        0,
        {"val_check_interval": 3},
    ),
    "in the second validation of an epoch": (
        "on_validation_batch_start",
        3,
        4,
        1,
        {"val_check_interval": 2},
    ),
    # What belongs to the end of an epoch is waited for.
    "after a validation": ("on_validation_end", 4, 6, 1, {}),
    "where no validation follows": (
        "on_train_batch_start",
        4,
        6,
        0,
        {"check_val_every_n_epoch": 2},
    ),
    # The second batch of an accumulation ends it.
    "in an accumulation": ("on_train_batch_start", 2, 4, 0, {"accumulate_grad_batches": 2}),
    "in a validation in an accumulation": (
        "on_validation_batch_start",
        2,
        4,
        1,
        {"accumulate_grad_batches": 2, "val_check_interval": 3},
    ),
    "where epochs have one batch": ("on_train_batch_start", 0, 1, 0, {"limit_train_batches": 1}),
    "where epochs have one batch and no validation follows": (
        "on_train_batch_start",
        0,
        2,
        0,
        {"limit_train_batches": 1, "check_val_every_n_epoch": 3},
    ),
}


@pytest.mark.parametrize(
    ("scheduler", "moment"),
    [
        (scheduler, moment)
        for scheduler in ("cosine", "plateau")
        for moment in MOMENTS
        # A plateau needs a validation an epoch.
        if scheduler == "cosine" or "no validation" not in moment
    ],
)
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    scheduler: str, moment: str, tmp_path: Path, no_thread_left: None
) -> None:
    hook, batch, n_done, n_validated, options = MOMENTS[moment]
    path = tmp_path / "last.ckpt"
    if "limit_train_batches" in options:
        options = options | {"max_epochs": 6}
    straight = train(scheduler, **options)

    with pytest.raises(InterruptedRunError, match=f"Go on with ckpt_path={path}"):
        train(scheduler, callbacks=[StopAtInterrupt(path), PressCtrlC(batch, hook)], **options)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    resumed = train(scheduler, ckpt_path=path, **options)

    assert torch.equal(resumed.losses, straight.losses[n_done:])
    assert resumed.rates == straight.rates[n_done:]
    assert resumed.validation == straight.validation[n_validated:]
    for name, weight in straight.weights.items():
        assert torch.equal(resumed.weights[name], weight), name


def test_a_run_interrupted_in_one_validation_twice_goes_on_as_if_it_had_not_been(
    tmp_path: Path, no_thread_left: None
) -> None:
    path = tmp_path / "last.ckpt"
    straight = train()

    for hook, start in (("on_validation_batch_end", None), ("on_validation_batch_start", path)):
        with pytest.raises(InterruptedRunError):
            train(callbacks=[StopAtInterrupt(path), PressCtrlC(4, hook)], ckpt_path=start)
    resumed = train(ckpt_path=path)

    assert torch.equal(resumed.losses, straight.losses[5:])
    assert resumed.validation == straight.validation
    for name, weight in straight.weights.items():
        assert torch.equal(resumed.weights[name], weight), name


def test_ctrl_c_in_the_test_says_that_the_training_is_complete(
    tmp_path: Path, no_thread_left: None
) -> None:
    path = tmp_path / "last.ckpt"
    run = train(callbacks=[StopAtInterrupt(path), PressCtrlC(9, "on_test_batch_start")])

    with pytest.raises(InterruptedRunError, match="the training is complete") as error:
        run.trainer.test(run.module, make_data(), verbose=False)

    assert f"ckpt_path={path}" in str(error.value)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_a_second_ctrl_c_ends_the_run_at_once(tmp_path: Path, no_thread_left: None) -> None:
    path = tmp_path / "last.ckpt"

    # Lightning answers a KeyboardInterrupt with an exit, and ignores Ctrl-C from then on.
    with pytest.raises(SystemExit):
        train(callbacks=[PressCtrlC(6, times=2), StopAtInterrupt(path)])

    assert not path.exists()


@pytest.mark.parametrize("fails", [False, True])
def test_ctrl_c_is_given_back_after_the_fit(fails: bool, tmp_path: Path) -> None:
    class Fail(pl.Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            if fails:
                raise KeyError("a failing callback")

    seen = []

    class Look(pl.Callback):
        def on_train_batch_start(self, *args: Any) -> None:
            seen.append(signal.getsignal(signal.SIGINT))

    try:
        train(callbacks=[Look(), Fail(), StopAtInterrupt(tmp_path / "last.ckpt")], max_epochs=1)
    except KeyError:
        assert fails

    assert seen
    assert signal.default_int_handler not in seen
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
