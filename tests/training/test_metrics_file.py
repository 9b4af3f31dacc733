"""metrics.csv has a row a step, and each loss in full."""

import csv
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.optim import SGD
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


@pytest.mark.parametrize("accumulate", [2, 3])
def test_while_gradients_are_accumulated_a_row_has_the_whole_loss_of_the_last_batch(
    accumulate: int, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.csv"
    frozen = {"make_optimizer": partial(SGD, lr=1e-12)}
    fit(
        PLAN,
        make_module(**frozen),
        callbacks=[StepClock(), MetricsFile(path, 1)],
        accumulate_grad_batches=accumulate,
        max_epochs=1,
    )

    plain = fit(PLAN, make_module(**frozen), max_epochs=1)

    last_batches = [*range(accumulate - 1, N_BATCHES, accumulate), N_BATCHES - 1]
    expected = [float(plain.losses[batch]) for batch in dict.fromkeys(last_batches)]
    assert [float(row["train/loss"]) for row in read_rows(path)] == pytest.approx(expected)


def test_metrics_csv_goes_on_where_a_resumed_run_left_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    callbacks = [StepClock(), MetricsFile(path, every_n_steps=1)]
    first = fit(PLAN, callbacks=callbacks, max_epochs=1)
    first.trainer.save_checkpoint(tmp_path / "first.ckpt")

    fit(PLAN, callbacks=[StepClock(), MetricsFile(path, 1)], ckpt_path=tmp_path / "first.ckpt")

    assert [int(row["step"]) for row in read_rows(path)] == list(range(1, 2 * N_BATCHES + 1))


def test_a_run_that_goes_on_from_an_earlier_step_writes_the_later_rows_again(
    tmp_path: Path,
) -> None:
    path, checkpoint = tmp_path / "metrics.csv", tmp_path / "checkpoints" / "first.ckpt"
    fit(PLAN, max_epochs=1).trainer.save_checkpoint(checkpoint)
    fit(PLAN, callbacks=[StepClock(), MetricsFile(path, 1)], max_epochs=2)
    whole = [(row["step"], row["train/loss"]) for row in read_rows(path)]

    fit(PLAN, callbacks=[StepClock(), MetricsFile(path, 1)], ckpt_path=checkpoint, max_epochs=2)

    assert [(row["step"], row["train/loss"]) for row in read_rows(path)] == whole


@pytest.mark.parametrize("goes_on", [False, True])
def test_another_run_begins_metrics_csv_anew(goes_on: bool, tmp_path: Path) -> None:
    path, checkpoint = tmp_path / "run" / "metrics.csv", tmp_path / "elsewhere" / "first.ckpt"
    path.parent.mkdir()
    fit(PLAN, max_epochs=1).trainer.save_checkpoint(checkpoint)
    fit(PLAN, callbacks=[StepClock(), MetricsFile(path, 1)], max_epochs=2)

    start = checkpoint if goes_on else None
    fit(PLAN, callbacks=[StepClock(), MetricsFile(path, 1)], ckpt_path=start, max_epochs=2)

    first = N_BATCHES + 1 if goes_on else 1
    assert [int(row["step"]) for row in read_rows(path)] == list(range(first, 2 * N_BATCHES + 1))
