"""Checkpoints speak nn.GRU, and a resumed run is the uninterrupted one to the last bit."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from gru_parallel.placement.plan import Plan
from gru_parallel.training.best_and_last import LastCheckpoint
from tests.builders import HIDDEN, WIDTH, make_plan
from tests.grids import covering
from tests.runs import (
    N_BATCHES,
    Run,
    SaveAfter,
    adamw,
    fit,
    largest_difference,
    make_data,
    make_module,
)

PLAN = make_plan([2, 2], n_chunks=2)
OTHER_PLACEMENTS = {
    "in the same placement": PLAN,
    "on one stage": make_plan([4], n_chunks=2),
    "on four stages": make_plan([1, 1, 1, 1], n_chunks=2),
}


N_BEFORE = (2, 5, 8)
"""Batches before the checkpoints from which runs are resumed."""


def cosine(optimizer: Any, n_steps: int) -> Any:
    return CosineAnnealingLR(optimizer, T_max=n_steps)


def plateau(optimizer: Any, n_steps: int) -> Any:
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.9)


class SaveInValidation(SaveAfter):
    """Writes its checkpoint after the first batch of the validation that follows."""

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        return

    def on_validation_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.fit_loop.total_batch_idx + 1 == self.n_batches and not self.path.exists():
            trainer.save_checkpoint(self.path)


class SaveAfterValidation(SaveInValidation):
    """Writes its checkpoint at the end of the validation that follows."""

    def on_validation_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        return

    def on_validation_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.fit_loop.total_batch_idx + 1 == self.n_batches:
            trainer.save_checkpoint(self.path)


def every_epoch(folder: Path, *, save_on_train_epoch_end: bool = True) -> ModelCheckpoint:
    """Write epoch0.ckpt, epoch1.ckpt, ... into `folder`."""
    return ModelCheckpoint(
        folder,
        "epoch{epoch}",
        save_top_k=-1,
        auto_insert_metric_name=False,
        save_on_train_epoch_end=save_on_train_epoch_end,
    )


def train(plan: Plan = PLAN, **options: Any) -> Run:
    module = make_module(adamw, dropout=0.3, make_scheduler=cosine)
    defaults = {"gradient_clip_val": 0.1, "max_epochs": 2}
    return fit(plan, module, **defaults | options)


def train_by_validation(**options: Any) -> Run:
    """Train with a rate that the loss of each epoch's validation decides."""
    return fit(PLAN, make_module(make_scheduler=plateau, schedule_interval="epoch"), **options)


def assert_continues(resumed: Run, straight: Run, n_batches_before: int) -> None:
    """Compare what came after the checkpoint with the same part of the uninterrupted run."""
    assert torch.equal(resumed.losses, straight.losses[n_batches_before:])
    assert resumed.rates == straight.rates[n_batches_before:]
    # No validation is left out, and each is of the same weights.
    n_before = len(straight.validation) - len(resumed.validation)
    assert resumed.validation == straight.validation[n_before:]
    assert resumed.trainer.global_step == straight.trainer.global_step
    assert resumed.trainer.current_epoch == straight.trainer.current_epoch
    for name, weight in straight.weights.items():
        assert torch.equal(resumed.weights[name], weight), name
    assert largest_difference(resumed.weights, resumed.initial_weights) > 1e-3


@pytest.fixture(scope="module")
def straight() -> Run:
    return train()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, straight: Run) -> Path:
    """A folder with checkpoints from the middle of epochs, by the number of batches before."""
    folder = tmp_path_factory.mktemp("written")
    saving = train(callbacks=[SaveAfter(n, folder / f"{n}.ckpt") for n in N_BEFORE])
    assert_continues(saving, straight, 0)
    return folder


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@covering(1, when=["after validation", "after training"], placement=OTHER_PLACEMENTS)
def test_a_run_resumed_at_the_end_of_an_epoch_is_the_uninterrupted_one(
    when: str, placement: str, tmp_path: Path, straight: Run, no_thread_left: None
) -> None:
    def saver() -> pl.Callback:
        return every_epoch(tmp_path, save_on_train_epoch_end=when == "after training")

    train(callbacks=[saver()], enable_checkpointing=True)

    resumed = train(
        OTHER_PLACEMENTS[placement],
        ckpt_path=tmp_path / "epoch0.ckpt",
        callbacks=[saver()],
        enable_checkpointing=True,
    )

    assert_continues(resumed, straight, N_BATCHES)


@covering(1, n_batches=N_BEFORE, placement=OTHER_PLACEMENTS)
def test_a_run_resumed_in_the_middle_of_an_epoch_is_the_uninterrupted_one(
    n_batches: int, placement: str, written: Path, straight: Run, no_thread_left: None
) -> None:
    resumed = train(OTHER_PLACEMENTS[placement], ckpt_path=written / f"{n_batches}.ckpt")

    assert_continues(resumed, straight, n_batches)


def test_a_run_in_float64_is_resumed_with_all_bits_of_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "5.ckpt"
    straight = train(callbacks=[SaveAfter(5, path)], precision="64-true")

    resumed = train(ckpt_path=path, precision="64-true")

    assert_continues(resumed, straight, 5)


@pytest.fixture(scope="module")
def accumulating(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run that accumulates gradients, and its checkpoint from between two accumulations."""
    path = tmp_path_factory.mktemp("accumulating") / "middle.ckpt"
    return train(callbacks=[SaveAfter(7, path)], accumulate_grad_batches=2), path


def test_a_run_resumed_between_two_accumulations_is_the_uninterrupted_one(
    accumulating: tuple[Run, Path],
) -> None:
    whole, path = accumulating

    resumed = train(ckpt_path=path, accumulate_grad_batches=2)

    assert_continues(resumed, whole, 7)


def test_a_run_that_is_resumed_accumulates_as_scheduled(tmp_path: Path) -> None:
    saves = [SaveAfter(n_batches, tmp_path / f"{n_batches}.ckpt") for n_batches in (5, 7)]
    whole = fit(PLAN, callbacks=[GradientAccumulationScheduler({0: 2}), *saves])

    for save in saves:
        scheduled = [GradientAccumulationScheduler({0: 2})]
        resumed = fit(PLAN, callbacks=scheduled, ckpt_path=save.path)

        assert_continues(resumed, whole, save.n_batches)


@pytest.fixture(scope="module")
def whole_by_validation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run whose rate its validations decide, and its checkpoint from within an epoch."""
    path = tmp_path_factory.mktemp("by_validation") / "middle.ckpt"
    return train_by_validation(max_epochs=3, callbacks=[SaveAfter(8, path)]), path


# So does the test below begin at the end of an epoch.
@pytest.mark.parametrize(
    "when", ["in an epoch", pytest.param("at the end", marks=pytest.mark.long)]
)
def test_a_run_resumed_with_a_schedule_by_validation_is_the_uninterrupted_one(
    when: str, whole_by_validation: tuple[Run, Path], tmp_path: Path
) -> None:
    whole, path = whole_by_validation
    if when == "at the end":
        path = tmp_path / "end.ckpt"
        train_by_validation(max_epochs=2).trainer.save_checkpoint(path)

    resumed = train_by_validation(max_epochs=3, ckpt_path=path)

    assert whole.rates == [0.5] * 10 + [0.25] * 5
    assert_continues(resumed, whole, 8 if when == "in an epoch" else 10)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_so_is_one_resumed_from_the_checkpoint_that_an_epoch_ends_with(tmp_path: Path) -> None:
    options: dict[str, Any] = {"max_epochs": 3, "enable_checkpointing": True}
    whole = train_by_validation(callbacks=[every_epoch(tmp_path)], **options)

    resumed = train_by_validation(
        callbacks=[every_epoch(tmp_path)], ckpt_path=tmp_path / "epoch1.ckpt", **options
    )

    assert_continues(resumed, whole, 10)


def test_so_is_one_resumed_after_the_last_validation_of_an_epoch_before_its_end(
    tmp_path: Path,
) -> None:
    save = SaveAfterValidation(9, tmp_path / "x.ckpt")
    whole = train_by_validation(max_epochs=3, val_check_interval=2, callbacks=[save])

    resumed = train_by_validation(max_epochs=3, val_check_interval=2, ckpt_path=save.path)

    assert_continues(resumed, whole, 9)
    assert resumed.rates[1:] == [0.25] * 5


@pytest.fixture(scope="module")
def validating(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run that validates in epochs, and its checkpoint from within a validation."""
    path = tmp_path_factory.mktemp("validating") / "validation.ckpt"
    return train(callbacks=[SaveInValidation(3, path)], val_check_interval=3), path


def test_a_run_resumed_in_a_validation_in_the_middle_of_an_epoch_is_the_uninterrupted_one(
    validating: tuple[Run, Path],
) -> None:
    whole, path = validating

    resumed = train(ckpt_path=path, val_check_interval=3)

    assert_continues(resumed, whole, 3)


def within_epochs(path: Path) -> LastCheckpoint:
    return LastCheckpoint(path, every_n_steps=1)


@pytest.mark.parametrize(
    ("n_batches", "options"),
    [
        (3, {"val_check_interval": 3}),
        (4, {"accumulate_grad_batches": 2}),
        pytest.param(2, {}, marks=pytest.mark.long),
    ],
    ids=["after a validation", "between accumulations", "anywhere"],
)
def test_a_run_resumed_from_a_last_checkpoint_within_an_epoch_is_the_uninterrupted_one(
    n_batches: int,
    options: dict[str, Any],
    tmp_path: Path,
    straight: Run,
    accumulating: tuple[Run, Path],
    validating: tuple[Run, Path],
) -> None:
    class Kill(pl.Callback):
        """Ends the run in the batch after the checkpoint."""

        def on_train_batch_start(self, trainer: pl.Trainer, *rest: Any) -> None:
            if trainer.fit_loop.total_batch_idx == n_batches:
                raise ConnectionError("killed")

    whole = {2: straight, 3: validating[0], 4: accumulating[0]}[n_batches]
    options = {**options, "enable_checkpointing": True}
    path = tmp_path / "killed" / "last.ckpt"
    with pytest.raises(ConnectionError, match="killed"):
        train(callbacks=[within_epochs(path), Kill()], **options)

    resumed = train(
        callbacks=[within_epochs(tmp_path / "new" / "last.ckpt")], ckpt_path=path, **options
    )

    assert_continues(resumed, whole, n_batches)


def test_the_tests_above_would_see_a_forgotten_optimiser_or_order(straight: Run) -> None:
    other_order = fit(
        PLAN,
        make_module(adamw, dropout=0.3, make_scheduler=cosine),
        make_data(seed=1),
        gradient_clip_val=0.1,
        max_epochs=2,
    )

    assert not torch.equal(other_order.losses, straight.losses)
    assert len(set(straight.rates)) == len(straight.rates)


def test_a_checkpoint_names_its_weights_as_nn_gru_does_and_loads_into_one(
    straight: Run, tmp_path: Path
) -> None:
    path, run = tmp_path / "whole.ckpt", straight
    run.trainer.save_checkpoint(path)

    saved = torch.load(path, weights_only=True)["state_dict"]

    plain = nn.GRU(WIDTH, HIDDEN, 4)
    prefix = "model.gru."
    found = {name.removeprefix(prefix): w for name, w in saved.items() if name.startswith(prefix)}
    assert list(found) == list(plain.state_dict())
    plain.load_state_dict(found)
    x = torch.randn(7, 2, WIDTH)
    assert isinstance(run.module, type(make_module()))
    with torch.no_grad():
        expected, _ = run.module.model.gru.eval()(x)
        actual, _ = plain(x)
    assert float((actual - expected).abs().max()) <= 1e-6
    assert {name for name in saved if not name.startswith(prefix)} == {
        "model.encoder.weight",
        "model.encoder.bias",
        "model.head.linear.weight",
        "model.head.linear.bias",
    }


def test_a_checkpoint_of_plain_training_goes_on_in_a_pipeline(tmp_path: Path) -> None:
    path = tmp_path / "single.ckpt"
    single = fit(None, callbacks=[SaveAfter(7, path)])

    resumed = fit(make_plan([1, 2, 1], "gpipe", 2, 3), ckpt_path=path)

    assert float((resumed.losses - single.losses[7:]).abs().max()) <= 1e-5
    assert largest_difference(resumed.weights, single.weights) <= 1e-5
