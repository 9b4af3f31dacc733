"""Ctrl-C ends a run after the step under way, with a checkpoint to go on from."""

import os
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
from tests.runs import N_BATCHES, Run, adamw, fit, make_module

PLAN = make_plan([2, 2], n_micro_batches=2, n_chunks=3)


@pytest.fixture(autouse=True)
def python_handles_ctrl_c() -> Iterator[None]:
    """Start and end with Python's own handler, whatever Lightning leaves behind."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)


class PressCtrlC(pl.Callback):
    """Sends this process a SIGINT at the beginning of a batch."""

    def __init__(self, batch: int, hook: str = "on_train_batch_start", times: int = 1) -> None:
        self.batch = batch
        self.times = times
        setattr(self, hook, self._press)

    def _press(self, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.fit_loop.total_batch_idx == self.batch:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)
            self.batch = -1


def cosine(optimizer: Any, n_steps: int) -> Any:
    return CosineAnnealingLR(optimizer, T_max=n_steps)


def plateau(optimizer: Any, n_steps: int) -> Any:
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.9)


def train(scheduler: str = "cosine", **options: Any) -> Run:
    schedule: Any = cosine if scheduler == "cosine" else plateau
    interval = "step" if scheduler == "cosine" else "epoch"
    module = make_module(adamw, dropout=0.3, make_scheduler=schedule, schedule_interval=interval)
    return fit(PLAN, module, **options)


# (hook, batch: when Ctrl-C comes; n_done: batches trained on when the run ends)
MOMENTS: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "in an epoch": ("on_train_batch_start", 6, 7, {}),
    # The end of an epoch and all that belongs to it is waited for.
    "at its last batch": ("on_train_batch_start", 4, 6, {}),
    "in a validation": ("on_validation_batch_start", 4, 6, {}),
    "in the last validation": ("on_validation_batch_start", 9, 10, {}),
    "in a validation within an epoch": (
        "on_validation_batch_start",
        2,
        4,
        {"val_check_interval": 3},
    ),
    # The second batch of an accumulation ends it.
    "in an accumulation": ("on_train_batch_start", 2, 4, {"accumulate_grad_batches": 2}),
    "where epochs have one batch": ("on_train_batch_start", 0, 2, {"limit_train_batches": 1}),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("scheduler", ["cosine", "plateau"])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    scheduler: str, moment: str, tmp_path: Path, no_thread_left: None
) -> None:
    hook, batch, n_done, options = MOMENTS[moment]
    path = tmp_path / "last.ckpt"
    if "limit_train_batches" in options:
        options = options | {"max_epochs": 6}
    straight = train(scheduler, **options)

    with pytest.raises(InterruptedRunError, match=f"Go on with ckpt_path={path}"):
        train(scheduler, callbacks=[PressCtrlC(batch, hook), StopAtInterrupt(path)], **options)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    resumed = train(scheduler, ckpt_path=path, **options)

    assert torch.equal(resumed.losses, straight.losses[n_done:])
    assert resumed.rates == straight.rates[n_done:]
    n_before = len(straight.validation) - len(resumed.validation)
    assert resumed.validation == straight.validation[n_before:]
    assert n_before == n_done // N_BATCHES or moment not in ("in an epoch", "in a validation")
    for name, weight in straight.weights.items():
        assert torch.equal(resumed.weights[name], weight), name


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
