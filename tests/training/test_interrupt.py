"""A signal ends a run after the batch under way, with a checkpoint to resume from."""

import signal
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from gru_parallel.training import PipelineStrategy
from gru_parallel.training.interrupt import STOP_SIGNALS, InterruptedRunError, StopAtInterrupt
from tests.builders import make_plan
from tests.interrupts import DEFAULT_HANDLERS, SendSignal, restore_handlers
from tests.runs import Run, adamw, fit, make_data, make_module

PLAN = make_plan([1, 1], n_chunks=2)


NAMES = {"SIGINT": "Ctrl-C", "SIGTERM": "SIGTERM", "SIGUSR1": "SIGUSR1"}
"""What the message calls each signal."""

SOME_NAMES = ["SIGINT", "SIGTERM", pytest.param("SIGUSR1", marks=pytest.mark.long)]
"""Those that Python or Lightning would do something of their own at are ordinary."""


@pytest.fixture(autouse=True)
def python_handles_signals() -> Iterator[None]:
    """Start and end with Python's own handlers, whatever Lightning leaves behind."""
    restore_handlers()
    yield
    restore_handlers()


def handlers() -> dict[signal.Signals, Any]:
    return {number: signal.getsignal(number) for number in STOP_SIGNALS}


def cosine(optimizer: Any, n_steps: int) -> Any:
    return CosineAnnealingLR(optimizer, T_max=n_steps)


def plateau(optimizer: Any, n_steps: int) -> Any:
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.9)


def train(scheduler: str = "cosine", **options: Any) -> Run:
    schedule: Any = cosine if scheduler == "cosine" else plateau
    interval = "step" if scheduler == "cosine" else "epoch"
    module = make_module(
        adamw,
        num_layers=2,
        dropout=0.3,
        make_scheduler=schedule,
        schedule_interval=interval,
    )
    return fit(PLAN, module, **options)


@cache
def straight_run(scheduler: str, options: tuple[tuple[str, Any], ...]) -> Run:
    """The run that nothing interrupts."""
    return train(scheduler, **dict(options))


# (hook, batch: when the signal comes; n_done: batches trained on when the run ends, n_validated:
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
    "before a validation within an epoch": (
        "on_train_batch_start",
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


WITH_PLATEAU = {
    "at its last batch",
    "in a validation",
    "in the last validation",
    "in the second validation of an epoch",
    "after a validation",
    "in a validation in an accumulation",
}
"""Where a schedule that a validation changes is ordinary, and elsewhere one that a step does."""


def interruptions() -> list[Any]:
    """Every schedule, moment and signal; each moment once is ordinary, the rest `long`."""
    found = []
    for scheduler, moment, name in product(("cosine", "plateau"), MOMENTS, NAMES):
        # A plateau needs a validation an epoch.
        if scheduler == "plateau" and "no validation" in moment:
            continue
        # A SIGTERM everywhere, because Lightning would do something of its own at it.
        is_ordinary = name == "SIGTERM" or moment == "in an epoch"
        is_ordinary &= (scheduler == "plateau") == (moment in WITH_PLATEAU)
        marks = [] if is_ordinary else [pytest.mark.long]
        found.append(pytest.param(scheduler, moment, name, marks=marks))
    return found


@pytest.mark.parametrize(("scheduler", "moment", "name"), interruptions())
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    scheduler: str, moment: str, name: str, tmp_path: Path, no_thread_left: None
) -> None:
    hook, batch, n_done, n_validated, options = MOMENTS[moment]
    path = tmp_path / "last.ckpt"
    if "limit_train_batches" in options:
        options = options | {"max_epochs": 4}
    straight = straight_run(scheduler, tuple(options.items()))

    send = SendSignal(batch, hook, name=name)
    with pytest.raises(InterruptedRunError, match=f"Resume with ckpt_path={path}") as error:
        train(scheduler, callbacks=[StopAtInterrupt(path), send], **options)
    assert str(error.value).startswith(f"Stopped by {NAMES[name]} after step ")
    assert error.value.status == 128 + signal.Signals[name]
    assert handlers() == DEFAULT_HANDLERS
    resumed = train(scheduler, ckpt_path=path, **options)

    assert torch.equal(resumed.losses, straight.losses[n_done:])
    assert resumed.rates == straight.rates[n_done:]
    assert resumed.validation == straight.validation[n_validated:]
    for key, weight in straight.weights.items():
        assert torch.equal(resumed.weights[key], weight), key


def test_a_run_interrupted_in_one_validation_twice_goes_on_as_if_it_had_not_been(
    tmp_path: Path, no_thread_left: None
) -> None:
    path = tmp_path / "last.ckpt"
    straight = straight_run("cosine", ())

    for hook, start in (("on_validation_batch_end", None), ("on_validation_batch_start", path)):
        with pytest.raises(InterruptedRunError):
            train(callbacks=[StopAtInterrupt(path), SendSignal(4, hook)], ckpt_path=start)
    resumed = train(ckpt_path=path)

    assert torch.equal(resumed.losses, straight.losses[5:])
    assert resumed.validation == straight.validation
    for name, weight in straight.weights.items():
        assert torch.equal(resumed.weights[name], weight), name


@pytest.mark.parametrize("name", SOME_NAMES)
def test_a_signal_in_the_test_says_that_the_training_is_complete(
    name: str, tmp_path: Path, no_thread_left: None
) -> None:
    path = tmp_path / "last.ckpt"
    send = SendSignal(0, "on_test_batch_start", name=name)
    run = train(callbacks=[StopAtInterrupt(path), send], limit_train_batches=1, max_epochs=1)

    with pytest.raises(InterruptedRunError, match="the training is complete") as error:
        run.trainer.test(run.module, make_data(), verbose=False)

    assert str(error.value).startswith(f"Stopped by {NAMES[name]} in the test")
    assert f"ckpt_path={path}" in str(error.value)
    assert error.value.status == 128 + signal.Signals[name]
    assert handlers() == DEFAULT_HANDLERS


def test_a_second_ctrl_c_ends_the_run_at_once(tmp_path: Path, no_thread_left: None) -> None:
    path = tmp_path / "last.ckpt"

    # Lightning answers a KeyboardInterrupt with an exit, and ignores Ctrl-C from then on.
    with pytest.raises(SystemExit):
        train(callbacks=[SendSignal(1, times=2), StopAtInterrupt(path)])

    assert not path.exists()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_only_ctrl_c_ends_a_run_sooner_when_it_comes_again(
    name: str, tmp_path: Path, no_thread_left: None
) -> None:
    path = tmp_path / "last.ckpt"

    with pytest.raises(InterruptedRunError, match="after step 2;"):
        train(callbacks=[SendSignal(1, times=3, name=name), StopAtInterrupt(path)])

    assert path.exists()


def test_a_sigterm_that_came_before_the_signals_were_taken_over_ends_the_run_with_a_checkpoint(
    tmp_path: Path, no_thread_left: None
) -> None:
    class Before(pl.Callback):
        def on_train_start(self, *args: Any) -> None:
            signal.raise_signal(signal.SIGTERM)

    path = tmp_path / "last.ckpt"

    # The second batch of an accumulation ends it; Lightning would have ended the run at the first.
    with pytest.raises(InterruptedRunError, match="Stopped by SIGTERM after step 1;"):
        train(callbacks=[Before(), StopAtInterrupt(path)], accumulate_grad_batches=2)

    assert path.exists()


@pytest.mark.parametrize("fails", [False, True])
def test_the_signals_are_given_back_after_the_fit(fails: bool, tmp_path: Path) -> None:
    class Fail(pl.Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            if fails:
                raise KeyError("a failing callback")

    seen = []

    class Look(pl.Callback):
        def on_train_batch_start(self, *args: Any) -> None:
            seen.append(handlers())

    try:
        train(callbacks=[Look(), Fail(), StopAtInterrupt(tmp_path / "last.ckpt")], max_epochs=1)
    except KeyError:
        assert fails

    assert seen
    for number, handler in DEFAULT_HANDLERS.items():
        assert all(each[number] != handler for each in seen)
    assert handlers() == DEFAULT_HANDLERS


class OneOfTwoRanks(PipelineStrategy):
    """What this rank would see of another that gets a signal, or none.

    Args:
        since_batch: the batch from which on the other rank wants to stop.
        number: of the other rank's signal; 0 for none.
    """

    is_one_of_many = True

    def __init__(self, since_batch: int = 0, number: int = 0) -> None:
        super().__init__(PLAN)
        self.since_batch = since_batch
        self.number = number
        self.questions: list[int] = []

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        assert not all
        assert self.lightning_module is not None
        batch = self.lightning_module.trainer.fit_loop.total_batch_idx
        self.questions.append(batch)
        return decision or (self.number != 0 and batch >= self.since_batch)

    def all_gather(self, tensor: Tensor, group: Any = None, sync_grads: bool = False) -> Tensor:
        return torch.stack([tensor, torch.tensor(self.number)])


def test_a_rank_stops_where_another_was_told_to_and_names_its_signal(
    tmp_path: Path, no_thread_left: None
) -> None:
    path = tmp_path / "last.ckpt"
    strategy = OneOfTwoRanks(6, signal.SIGTERM)

    with pytest.raises(InterruptedRunError, match="Stopped by SIGTERM after step 7;") as error:
        train(callbacks=[StopAtInterrupt(path)], strategy=strategy)

    assert error.value.status == 143
    straight, resumed = straight_run("cosine", ()), train(ckpt_path=path)
    assert torch.equal(resumed.losses, straight.losses[7:])


def test_all_ranks_ask_equally_often_whichever_of_them_was_told(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    told, other = OneOfTwoRanks(), OneOfTwoRanks(4, signal.SIGUSR1)
    options: dict[str, Any] = {
        "limit_train_batches": 1,
        "check_val_every_n_epoch": 3,
        "max_epochs": 8,
    }

    send = SendSignal(4, name="SIGUSR1")

    with pytest.raises(InterruptedRunError, match="SIGUSR1 after step 6;"):
        train(callbacks=[StopAtInterrupt(path), send], strategy=told, **options)
    with pytest.raises(InterruptedRunError, match="SIGUSR1 after step 6;"):
        train(callbacks=[StopAtInterrupt(path)], strategy=other, **options)

    assert told.questions == other.questions


@pytest.mark.parametrize("name", SOME_NAMES)
def test_no_second_signal_ends_a_rank_sooner(name: str, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"

    class Again(pl.Callback):
        def on_save_checkpoint(self, *args: Any) -> None:
            signal.raise_signal(signal.Signals[name])

        def on_exception(self, *args: Any) -> None:
            signal.raise_signal(signal.Signals[name])

    send = SendSignal(1, times=2, name=name)
    with pytest.raises(InterruptedRunError, match=f"Stopped by {NAMES[name]} after step 2;"):
        train(callbacks=[StopAtInterrupt(path), send, Again()], strategy=OneOfTwoRanks())

    assert path.exists()
    # The process is about to end, and no signal is to hinder that.
    signal.raise_signal(signal.Signals[name])


def test_a_signal_before_the_first_batch_ends_a_rank_after_it(tmp_path: Path) -> None:
    class Early(pl.Callback):
        def on_fit_start(self, *args: Any) -> None:
            signal.raise_signal(signal.SIGUSR1)

    with pytest.raises(InterruptedRunError, match="Stopped by SIGUSR1 after step 1;"):
        train(
            callbacks=[Early(), StopAtInterrupt(tmp_path / "last.ckpt")], strategy=OneOfTwoRanks()
        )
