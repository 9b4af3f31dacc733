"""A resumed run trains on each batch once, wherever in an epoch the one before has ended."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gru_parallel.training.best_and_last import LastCheckpoint
from gru_parallel.training.epoch_record import EpochRecord, EpochResult
from tests.builders import make_plan
from tests.runs import N_BATCHES, Run, fit, make_module

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")

PLAN = make_plan([1, 1])


def train(last: Path, *, results: list[EpochResult] | None = None, **options: Any) -> Run:
    record = EpochRecord([] if results is None else [results.append])
    defaults = {"enable_checkpointing": True, "max_epochs": 3}
    plan, callbacks = options.pop("plan", PLAN), [record, LastCheckpoint(last)]
    return fit(plan, make_module(num_layers=2), callbacks=callbacks, **defaults | options)


def assert_goes_on(run: Run, straight: Run) -> None:
    """Compare what came after the checkpoint with the end of the run that nothing stopped."""
    n_before = len(straight.losses) - len(run.losses)
    assert torch.equal(run.losses, straight.losses[n_before:])
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
