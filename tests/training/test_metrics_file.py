"""metrics.csv has one row per step, and each loss in full."""

import csv
import shutil
from functools import cache, partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

from gru_parallel.choices import ERRORS
from gru_parallel.placement.plan import Plan
from gru_parallel.training import SeriesModule
from gru_parallel.training.epoch_record import EpochRecord
from gru_parallel.training.metrics_file import MetricsFile
from gru_parallel.training.step_clock import StepClock
from tests.builders import make_plan
from tests.runs import N_BATCHES, Run
from tests.runs import fit as fit_any
from tests.runs import make_module as make_any
from tests.training.test_checkpoints import SaveAfter

PLAN = make_plan([1, 1], n_chunks=2)
make_module = partial(make_any, num_layers=2)


def fit(plan: Plan, module: SeriesModule | None = None, **options: Any) -> Run:
    """Train a small module."""
    return fit_any(plan, module or make_module(), **options)


def read_rows(path: Path, column: str = "train/loss") -> list[dict[str, str]]:
    """Read the rows that have a column, by default those of steps."""
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row[column]]


def callbacks_of(path: Path, every_n_steps: int = 1) -> list[pl.Callback]:
    metrics = MetricsFile(path, every_n_steps)
    return [StepClock(), EpochRecord([metrics.write_epoch]), metrics]


def test_metrics_csv_has_a_row_a_step_with_the_loss_in_full_precision(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    run = fit(PLAN, callbacks=callbacks_of(path))

    rows = read_rows(path)

    of_steps = ["epoch", "step", "train/loss", "samples/s", "lr"]
    in_validation = ["val/loss", *(f"val/{name}" for name in ERRORS)]
    assert list(rows[0]) == [*of_steps, "train/loss_epoch", *in_validation]
    assert [int(row["step"]) for row in rows] == list(range(1, 2 * N_BATCHES + 1))
    assert [int(row["epoch"]) for row in rows] == [0] * N_BATCHES + [1] * N_BATCHES
    assert [row["train/loss"] for row in rows] == [repr(float(loss)) for loss in run.losses]
    assert all(float(row["samples/s"]) > 0 for row in rows)
    assert {row["lr"] for row in rows} == {"0.5"}


def test_metrics_csv_has_the_rate_that_each_step_used(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    module = make_module(make_scheduler=lambda optimizer, _: StepLR(optimizer, 1, gamma=0.5))
    fit(PLAN, module, callbacks=callbacks_of(path), max_epochs=1)

    assert [float(row["lr"]) for row in read_rows(path)] == [0.5**k for k in range(1, 6)]


def test_metrics_csv_keeps_the_precision_of_float64(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    callbacks = callbacks_of(path)
    run = fit(PLAN, precision="64-true", callbacks=callbacks)

    losses = torch.tensor([float(row["train/loss"]) for row in read_rows(path)], dtype=torch.double)

    assert torch.equal(losses, run.losses)
    assert not torch.equal(losses, losses.float().double())


@pytest.mark.parametrize(
    ("every_n_steps", "accumulate", "steps"),
    [
        (3, 1, [3, 6, 9]),
        pytest.param(1, 2, [1, 2, 3, 4, 5, 6], marks=pytest.mark.long),
        (2, 2, [2, 4, 6]),
    ],
)
def test_metrics_csv_counts_steps_of_the_optimiser(
    every_n_steps: int, accumulate: int, steps: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "metrics.csv"
    fit(PLAN, callbacks=callbacks_of(path, every_n_steps), accumulate_grad_batches=accumulate)

    assert [int(row["step"]) for row in read_rows(path)] == steps


FROZEN: dict[str, Any] = {"make_optimizer": partial(SGD, lr=1e-12)}


@cache
def losses_of_batches() -> Tensor:
    """The losses of an epoch in which the weights stay as they are."""
    return fit(PLAN, make_module(**FROZEN), max_epochs=1).losses


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with metrics.csv and the checkpoint first.ckpt of a run of one epoch."""
    folder = tmp_path_factory.mktemp("first")
    run = fit(PLAN, callbacks=callbacks_of(folder / "metrics.csv"), max_epochs=1)
    run.trainer.save_checkpoint(folder / "first.ckpt")
    return folder


def copy(path: Path, to: Path) -> None:
    to.parent.mkdir(exist_ok=True)
    shutil.copyfile(path, to)


@pytest.mark.parametrize("accumulate", [2, pytest.param(3, marks=pytest.mark.long)])
def test_while_gradients_are_accumulated_a_row_has_the_whole_loss_of_the_last_batch(
    accumulate: int, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.csv"
    fit(
        PLAN,
        make_module(**FROZEN),
        callbacks=callbacks_of(path),
        accumulate_grad_batches=accumulate,
        max_epochs=1,
    )

    plain = losses_of_batches()

    last_batches = [*range(accumulate - 1, N_BATCHES, accumulate), N_BATCHES - 1]
    expected = [float(plain[batch]) for batch in dict.fromkeys(last_batches)]
    assert [float(row["train/loss"]) for row in read_rows(path)] == pytest.approx(expected)


def test_metrics_csv_goes_on_where_a_resumed_run_left_it(first: Path, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    for name in (path.name, "first.ckpt"):
        copy(first / name, tmp_path / name)

    fit(PLAN, callbacks=callbacks_of(path), ckpt_path=tmp_path / "first.ckpt")

    assert [int(row["step"]) for row in read_rows(path)] == list(range(1, 2 * N_BATCHES + 1))


def test_a_run_that_goes_on_from_an_earlier_step_writes_the_later_rows_again(
    first: Path, tmp_path: Path
) -> None:
    path, checkpoint = tmp_path / "metrics.csv", tmp_path / "checkpoints" / "first.ckpt"
    copy(first / "first.ckpt", checkpoint)
    fit(PLAN, callbacks=callbacks_of(path), max_epochs=2)
    whole = [(row["step"], row["train/loss"]) for row in read_rows(path)]

    fit(PLAN, callbacks=callbacks_of(path), ckpt_path=checkpoint, max_epochs=2)

    assert [(row["step"], row["train/loss"]) for row in read_rows(path)] == whole


@pytest.mark.parametrize("n_bytes_left", [0, 20, -3])
def test_metrics_csv_that_a_fault_has_cut_off_goes_on_with_its_whole_rows(
    n_bytes_left: int, first: Path, tmp_path: Path
) -> None:
    path, checkpoint = tmp_path / "metrics.csv", tmp_path / "first.ckpt"
    copy(first / "first.ckpt", checkpoint)
    path.write_bytes((first / path.name).read_bytes()[:n_bytes_left])

    fit(PLAN, callbacks=callbacks_of(path), ckpt_path=checkpoint)

    later = list(range(N_BATCHES + 1, 2 * N_BATCHES + 1))
    kept = list(range(1, N_BATCHES + 1)) if n_bytes_left < 0 else []
    assert [int(row["step"]) for row in read_rows(path)] == [*kept, *later]
    assert set(tmp_path.iterdir()) == {path, checkpoint}


@pytest.mark.parametrize("goes_on", [False, True])
def test_another_run_begins_metrics_csv_anew(goes_on: bool, first: Path, tmp_path: Path) -> None:
    path, checkpoint = tmp_path / "run" / "metrics.csv", tmp_path / "elsewhere" / "first.ckpt"
    path.parent.mkdir()
    copy(first / "first.ckpt", checkpoint)
    fit(PLAN, callbacks=callbacks_of(path), max_epochs=2)

    start = checkpoint if goes_on else None
    fit(PLAN, callbacks=callbacks_of(path), ckpt_path=start, max_epochs=2)

    first = N_BATCHES + 1 if goes_on else 1
    assert [int(row["step"]) for row in read_rows(path)] == list(range(first, 2 * N_BATCHES + 1))


def test_metrics_csv_has_a_row_an_epoch_however_few_steps_there_are(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    run = fit(PLAN, callbacks=callbacks_of(path, every_n_steps=100))

    assert read_rows(path) == []
    rows = read_rows(path, "val/loss")
    assert [(row["epoch"], row["step"], row["lr"]) for row in rows] == [
        ("0", "5", "0.5"),
        ("1", "10", "0.5"),
    ]
    for row, metrics in zip(rows, run.validation, strict=True):
        assert {name: float(row[name]) for name in metrics} == metrics
    losses = run.losses.double()
    sizes = torch.tensor([16, 16, 16, 16, 6])
    means = [float((part * sizes).sum() / 70) for part in (losses[:5], losses[5:])]
    assert [float(row["train/loss_epoch"]) for row in rows] == pytest.approx(means, rel=1e-12)


def test_a_validation_within_an_epoch_has_a_row_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    run = fit(PLAN, callbacks=callbacks_of(path), val_check_interval=2, max_epochs=1)

    rows = read_rows(path, "train/loss_epoch")
    assert [row["step"] for row in rows] == ["2", "4", "5"]
    assert [bool(row["val/loss"]) for row in rows] == [True, True, False]
    losses = run.losses.double()
    assert float(rows[0]["train/loss_epoch"]) == pytest.approx(float(losses[:2].mean()))
    assert float(rows[1]["train/loss_epoch"]) == pytest.approx(float(losses[:4].mean()))


def test_without_a_validation_an_epoch_has_its_training_loss_alone(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    fit(PLAN, callbacks=callbacks_of(path), limit_val_batches=0)

    assert [row["val/loss"] for row in read_rows(path, "train/loss_epoch")] == ["", ""]


@pytest.mark.parametrize("accumulate", [pytest.param(2, marks=pytest.mark.long), 3])
def test_the_loss_of_an_epoch_is_a_mean_of_whole_losses(accumulate: int, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    options = {"callbacks": callbacks_of(path), "accumulate_grad_batches": accumulate}
    fit(PLAN, make_module(**FROZEN), **options, max_epochs=1)

    plain = losses_of_batches().double()

    mean = float((plain * torch.tensor([16, 16, 16, 16, 6])).sum() / 70)
    (row,) = read_rows(path, "train/loss_epoch")
    assert float(row["train/loss_epoch"]) == pytest.approx(mean)


VALIDATES: dict[str, Any] = {"val_check_interval": 3, "max_epochs": 2}
N_BEFORE = (2, 5, 7)


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that validates within epochs, with checkpoints by batches before."""
    folder = tmp_path_factory.mktemp("validated")
    saves = [SaveAfter(n, folder / "checkpoints" / f"{n}.ckpt") for n in N_BEFORE]
    fit(PLAN, callbacks=[*callbacks_of(folder / "metrics.csv"), *saves], **VALIDATES)
    return folder


@pytest.mark.parametrize("n_before", N_BEFORE)
def test_the_epochs_of_a_run_that_goes_on_are_those_of_the_uninterrupted_one(
    n_before: int, validated: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run" / "metrics.csv"
    shutil.copytree(validated, path.parent)
    whole = without_speed(path)

    checkpoint = path.parent / "checkpoints" / f"{n_before}.ckpt"
    fit(PLAN, callbacks=callbacks_of(path), ckpt_path=checkpoint, **VALIDATES)

    assert without_speed(path) == whole


class SaveAfterValidation(pl.Callback):
    """Writes a checkpoint in the first validation, as BestCheckpoint does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.path.exists():
            trainer.save_checkpoint(self.path)


def test_so_are_those_of_one_that_goes_on_from_the_validation_at_the_end_of_an_epoch(
    tmp_path: Path,
) -> None:
    path, checkpoint = tmp_path / "metrics.csv", tmp_path / "checkpoints" / "best.ckpt"
    fit(PLAN, callbacks=[*callbacks_of(path), SaveAfterValidation(checkpoint)])
    whole = without_speed(path)

    fit(PLAN, callbacks=callbacks_of(path), ckpt_path=checkpoint)

    assert without_speed(path) == whole


def without_speed(path: Path) -> list[dict[str, str]]:
    return [row | {"samples/s": ""} for row in read_rows(path, "step")]
