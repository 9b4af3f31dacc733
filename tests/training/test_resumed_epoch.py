"""A resumed run trains on each batch once, wherever in an epoch the one before has ended."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from gru_parallel.training.best_and_last import LastCheckpoint
from gru_parallel.training.epoch_record import EpochRecord, EpochResult
from tests.builders import make_plan
from tests.runs import N_BATCHES, Run, fit, make_module

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")

PLAN = make_plan([1, 1])


def train(last: Path, *, results: list[EpochResult] | None = None, **options: Any) -> Run:
    record = EpochRecord([] if results is None else [results.append])
    defaults = {"enable_checkpointing": True, "max_epochs": 3}
    schedule, plan = options.pop("schedule", None), options.pop("plan", PLAN)
    callbacks = [record, StopAfter(options.pop("stop", -1)), LastCheckpoint(last)]
    module = make_module(num_layers=2, make_scheduler=schedule, schedule_interval="epoch")
    return fit(plan, module, callbacks=callbacks, **defaults | options)


def plateau(optimizer: Any, n_steps: int) -> ReduceLROnPlateau:
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.9)


def assert_goes_on(run: Run, straight: Run) -> None:
    """Compare what came after the checkpoint with the end of the run that nothing stopped."""
    n_before = len(straight.losses) - len(run.losses)
    assert torch.equal(run.losses, straight.losses[n_before:])
    assert run.rates == straight.rates[n_before:]
    assert all(torch.equal(run.weights[name], straight.weights[name]) for name in run.weights)
    assert run.trainer.global_step == straight.trainer.global_step
    assert run.trainer.current_epoch == straight.trainer.current_epoch


@pytest.mark.parametrize(
    "options",
    [{}, {"plan": None}, {"reload_dataloaders_every_n_epochs": 1}],
    ids=["pipeline", "one device", "loaders made anew"],
)
def test_with_max_steps_a_run_loses_no_epoch(options: dict[str, Any], tmp_path: Path) -> None:
    last = tmp_path / "last.ckpt"
    results: list[EpochResult] = []
    straight = train(last, **options, max_steps=100)
    train(last, **options, max_steps=100, max_epochs=1)

    rest = train(last, results=results, **options, max_steps=100, ckpt_path=last)

    assert len(rest.losses) == 2 * N_BATCHES
    assert_goes_on(rest, straight)
    assert [result.epoch for result in results] == [1, 2]


def test_nor_does_one_whose_checkpoint_was_written_after_its_end(tmp_path: Path) -> None:
    last, end = tmp_path / "last.ckpt", tmp_path / "end.ckpt"
    straight = train(last, max_steps=100, max_epochs=2)
    train(last, max_epochs=1).trainer.save_checkpoint(end)

    rest = train(last, max_steps=100, max_epochs=2, ckpt_path=end)

    assert_goes_on(rest, straight)


class StopAfter(pl.Callback):
    """Has the run end after a number of batches, as max_time and early stopping do."""

    def __init__(self, n_batches: int) -> None:
        self.n_batches = n_batches

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.fit_loop.total_batch_idx + 1 == self.n_batches:
            trainer.should_stop = True


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"max_steps": 7}, {}),
        ({"max_steps": 7}, {"max_steps": 100}),
        ({"max_epochs": -1, "max_steps": 7}, {"max_epochs": -1, "max_steps": 15}),
        ({"max_steps": 2, "max_epochs": 1}, {}),
        ({"stop": 7}, {}),
        ({"stop": 7}, {"plan": None}),
    ],
)
def test_a_run_that_ended_within_an_epoch_trains_the_rest_of_it(
    first: dict[str, Any], second: dict[str, Any], tmp_path: Path
) -> None:
    last = tmp_path / "last.ckpt"
    straight = train(last, schedule=plateau, **second)
    train(last, schedule=plateau, **first)

    rest = train(last, schedule=plateau, **second, ckpt_path=last)

    assert_goes_on(rest, straight)


def test_it_says_where_gradients_are_missing(tmp_path: Path) -> None:
    last = tmp_path / "last.ckpt"
    train(last, accumulate_grad_batches=2, stop=3)

    with pytest.warns(UserWarning, match="between two batches of one step"):
        rest = train(last, accumulate_grad_batches=2, max_epochs=1, ckpt_path=last)

    assert len(rest.losses) == 2
