"""A run that writes no checkpoints has only its last weights, and says so."""

import json
from pathlib import Path

import pytest

from gru_parallel.app.compare import read_run
from gru_parallel.report.comparison import ComparedRun
from tests.cli.in_process import SMALL, RunCommand, look_at, rows_of, summary_of


def test_without_checkpoints_the_last_weights_are_tested_and_the_best_epoch_is_known(
    train_command: RunCommand,
) -> None:
    settings = [*SMALL, "optimizer=sgd", "optimizer.lr=5", "trainer.max_epochs=3"]
    ended = look_at(train_command, *settings, "trainer.enable_checkpointing=false")

    rows = rows_of(ended, "val/loss")
    losses = [float(row["val/loss"]) for row in rows]
    summary = summary_of(ended)
    assert min(losses) < losses[-1]
    assert (summary["validation_loss"], summary["best_epoch"]) == (
        losses[-1],
        losses.index(min(losses)),
    )
    assert (
        f"Best epoch: {summary['best_epoch']}, val/loss {min(losses):.4g}; no checkpoint has kept"
        f" its weights, so the last ones count, val/loss {losses[-1]:.4g}"
    ) in " ".join(ended.out.split())
    found = read_run(ended.folder)
    assert isinstance(found, ComparedRun)
    assert found.validation["val/mse"] == float(rows[-1]["val/mse"])
    assert summary["test_metrics"]["mse"] > 0
    assert not (ended.folder / "checkpoints").exists()


@pytest.mark.parametrize("lr", ["5", "1e-3"])
def test_without_checkpoints_a_run_has_the_test_of_its_last_checkpoint(
    lr: str, train_command: RunCommand, use_command: RunCommand
) -> None:
    settings = [*SMALL, "optimizer=sgd", f"optimizer.lr={lr}", "trainer.max_epochs=3"]
    kept = train_command(*settings, run="kept")
    use_command("evaluate", "run=kept", "checkpoint=last", "output=last")

    ended = look_at(train_command, *settings, "trainer.enable_checkpointing=false")

    expected = json.loads(Path("last/evaluation.json").read_text())["test_metrics"]
    assert summary_of(ended)["test_metrics"] == expected
    # Where the last epoch is the best, there is nothing to say.
    is_best = summary_of(kept)["best_epoch"] == 2
    assert is_best == (lr == "1e-3")
    assert ("no checkpoint has kept" in " ".join(ended.out.split())) == (not is_best)
