"""metrics.csv has a row a step, and each loss in full."""

import csv
from pathlib import Path

import pytest
import torch
from torch.optim.lr_scheduler import StepLR

from gru_parallel.training.metrics_file import MetricsFile
from gru_parallel.training.step_clock import StepClock
from tests.builders import make_plan
from tests.runs import N_BATCHES, fit, make_module

PLAN = make_plan([1, 2, 1], "one_f_one_b", n_micro_batches=3, n_chunks=4)


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_csv_has_a_row_a_step_with_the_loss_in_full_precision(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    run = fit(PLAN, callbacks=[StepClock(), MetricsFile(path, every_n_steps=1)])

    rows = read_rows(path)

    assert list(rows[0]) == ["epoch", "step", "train/loss", "samples/s", "lr"]
    assert [int(row["step"]) for row in rows] == list(range(1, 2 * N_BATCHES + 1))
    assert [int(row["epoch"]) for row in rows] == [0] * N_BATCHES + [1] * N_BATCHES
    assert [row["train/loss"] for row in rows] == [repr(float(loss)) for loss in run.losses]
    assert all(float(row["samples/s"]) > 0 for row in rows)
    assert {row["lr"] for row in rows} == {"0.5"}


def test_metrics_csv_has_the_rate_that_each_step_used(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    module = make_module(make_scheduler=lambda optimizer, _: StepLR(optimizer, 1, gamma=0.5))
    fit(PLAN, module, callbacks=[StepClock(), MetricsFile(path, 1)], max_epochs=1)

    assert [float(row["lr"]) for row in read_rows(path)] == [0.5**k for k in range(1, 6)]


def test_metrics_csv_keeps_the_precision_of_float64(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    callbacks = [StepClock(), MetricsFile(path, every_n_steps=1)]
    run = fit(PLAN, precision="64-true", callbacks=callbacks)

    losses = torch.tensor([float(row["train/loss"]) for row in read_rows(path)], dtype=torch.double)

    assert torch.equal(losses, run.losses)
    assert not torch.equal(losses, losses.float().double())


@pytest.mark.parametrize(
    ("every_n_steps", "accumulate", "steps"),
    [(3, 1, [3, 6, 9]), (1, 2, [1, 2, 3, 4, 5, 6]), (2, 2, [2, 4, 6])],
)
def test_metrics_csv_counts_steps_of_the_optimiser(
    every_n_steps: int, accumulate: int, steps: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "metrics.csv"
    callbacks = [StepClock(), MetricsFile(path, every_n_steps)]

    fit(PLAN, callbacks=callbacks, accumulate_grad_batches=accumulate)

    assert [int(row["step"]) for row in read_rows(path)] == steps


def test_metrics_csv_goes_on_where_a_resumed_run_left_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    callbacks = [StepClock(), MetricsFile(path, every_n_steps=1)]
    first = fit(PLAN, callbacks=callbacks, max_epochs=1)
    first.trainer.save_checkpoint(tmp_path / "first.ckpt")

    fit(PLAN, callbacks=[StepClock(), MetricsFile(path, 1)], ckpt_path=tmp_path / "first.ckpt")

    assert [int(row["step"]) for row in read_rows(path)] == list(range(1, 2 * N_BATCHES + 1))
