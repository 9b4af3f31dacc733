"""Loggers, the clock and metrics.csv beside a pipelined run."""

import csv
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.optim.lr_scheduler import StepLR

from gru_parallel.schedule import Op
from gru_parallel.training.callbacks import MetricsFile, StepClock
from tests.builders import make_plan
from tests.runs import N_BATCHES, fit, make_module

PLAN = make_plan([1, 2, 1], "one_f_one_b", n_micro_batches=3, n_chunks=4)


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_csv_logger_gets_what_it_gets_on_one_device(tmp_path: Path) -> None:
    rows = {}
    for name, plan in (("pipelined", PLAN), ("single", None)):
        logger = CSVLogger(tmp_path, name=name, version="")
        options = {"logger": logger, "callbacks": [LearningRateMonitor("step")]}
        fit(plan, log_every_n_steps=1, **options)
        rows[name] = read_rows(tmp_path / name / "metrics.csv")

    assert [row.keys() for row in rows["pipelined"]] == [row.keys() for row in rows["single"]]
    losses = 0
    for found, wanted in zip(rows["pipelined"], rows["single"], strict=True):
        for column, value in wanted.items():
            if value == "" or found[column] == "":
                assert found[column] == value
            else:
                assert float(found[column]) == pytest.approx(float(value), abs=1e-5)
                losses += column == "train/loss"
    assert losses == 2 * N_BATCHES


def test_the_tensorboard_logger_gets_every_loss_in_full(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="events", version="")
    run = fit(PLAN, logger=logger, log_every_n_steps=1)

    events = EventAccumulator(str(tmp_path / "events")).Reload()

    losses = [event.value for event in events.Scalars("train/loss")]
    assert torch.equal(torch.tensor(losses), run.losses)
    assert [event.step for event in events.Scalars("train/loss")] == list(range(2 * N_BATCHES))
    assert len(events.Scalars("val/mse")) == 2


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


def test_the_clock_keeps_the_timeline_of_a_step_and_not_that_of_a_validation() -> None:
    clock = StepClock()
    fit(PLAN, callbacks=[clock])

    assert clock.timeline is not None
    assert clock.timeline.n_stages == 3
    done = [event.action.op for event in clock.timeline.events]
    # The last batch of an epoch, of 6 windows, has as many micro-batches as the others.
    assert done.count(Op.F) == done.count(Op.B) == 3 * 3 * 4
    assert clock.step_ms is not None
    assert clock.step_ms >= clock.timeline.step_ms > 0
    assert clock.samples_per_s is not None
    assert clock.samples_per_s > 0


def test_the_clock_of_a_run_on_one_device_has_times_but_no_timeline() -> None:
    clock = StepClock()
    fit(None, callbacks=[clock], max_epochs=1)

    assert clock.timeline is None
    assert clock.step_ms is not None


def test_the_clock_of_a_run_without_a_step_knows_nothing() -> None:
    clock = StepClock()

    assert clock.step_ms is clock.samples_per_s is clock.timeline is None
