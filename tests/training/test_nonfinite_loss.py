"""A loss that becomes NaN or infinite ends the run before it reaches weights or checkpoints."""

from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.optim import SGD

from gru_parallel.training import SeriesModule
from gru_parallel.training.interrupt import InterruptedRunError, StopAtInterrupt
from gru_parallel.training.nonfinite_loss import NonFiniteLossError, StopAtNonFiniteLoss
from tests.builders import make_plan
from tests.interrupts import SendSignal
from tests.runs import N_BATCHES, fit, make_module, weights_of

PLAN = make_plan([1, 3], "one_f_one_b", n_micro_batches=2, n_chunks=3)


class Poison(pl.Callback):
    """Makes one weight NaN before a batch, and keeps the weights as they were after it."""

    def __init__(self, before_batch: int, parameter: str) -> None:
        self.before_batch = before_batch
        self.parameter = parameter
        self.weights: dict[str, Tensor] = {}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any
    ) -> None:
        if trainer.fit_loop.total_batch_idx == self.before_batch:
            with torch.no_grad():
                pl_module.get_parameter(self.parameter).view(-1)[0] = float("nan")
            self.weights = weights_of(pl_module)


class Distort(pl.Callback):
    """Replaces part of a batch before the module sees it."""

    def __init__(self, part: str, value: float) -> None:
        self.part = part
        self.value = value

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.fit_loop.total_batch_idx == 3:
            batch[self.part][0] = self.value


@pytest.mark.parametrize(
    ("parameter", "place"),
    [
        ("model.encoder.weight", "stage 0 (cpu:0, layers 0-0)"),
        pytest.param(
            "model.gru.blocks.0.parts.0.weight_hh_l0",
            "stage 0 (cpu:0, layers 0-0)",
            marks=pytest.mark.long,
        ),
        ("model.gru.blocks.2.parts.0.weight_ih_l0", "stage 1 (cpu:1, layers 1-3)"),
        ("model.head.linear.bias", "stage 1 (cpu:1, layers 1-3)"),
    ],
)
def test_a_nan_weight_ends_the_run_with_stage_step_and_checkpoint_named(
    parameter: str, place: str, tmp_path: Path, no_thread_left: None
) -> None:
    module = make_module()
    poison = Poison(N_BATCHES + 2, parameter)
    checkpoint = ModelCheckpoint(tmp_path, "last", save_on_train_epoch_end=True)

    with pytest.raises(NonFiniteLossError) as error:
        fit(
            PLAN,
            module,
            callbacks=[poison, StopAtNonFiniteLoss(PLAN), checkpoint],
            enable_checkpointing=True,
        )

    message = str(error.value)
    assert message.startswith(f"The loss became nan at step {N_BATCHES + 3}; ")
    assert f"came from {place}.\n" in message
    assert f"Last good checkpoint: {tmp_path / 'last.ckpt'}. " in message
    assert "Try a lower optimizer.lr (now 0.5) or trainer.gradient_clip_val=1.0." in message
    after = weights_of(module)
    for name, weight in poison.weights.items():
        assert torch.equal(after[name], weight) or name == parameter, name
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == N_BATCHES
    assert all(weight.isfinite().all() for weight in saved["state_dict"].values())


@pytest.mark.parametrize(
    ("distort", "value", "stage"),
    [
        (Distort("x", float("inf")), "nan", "stage 0"),
        # Squared, the targets overflow in the loss, behind the last stage.
        (Distort("y", 1e30), "inf", "stage 1"),
    ],
    ids=["inputs", "targets"],
)
def test_an_overflow_in_the_batch_ends_the_run(
    distort: Distort, value: str, stage: str, no_thread_left: None
) -> None:
    module = make_module()

    with pytest.raises(NonFiniteLossError) as error:
        fit(PLAN, module, callbacks=[distort, StopAtNonFiniteLoss(PLAN)])

    assert f"The loss became {value} at step 4; " in str(error.value)
    assert f"came from {stage} " in str(error.value)
    assert "Last good checkpoint: none." in str(error.value)
    assert all(weight.isfinite().all() for weight in module.parameters())


def test_weights_that_the_last_step_of_an_epoch_spoilt_are_not_saved(
    tmp_path: Path, no_thread_left: None
) -> None:
    class Spoil(pl.Callback):
        def on_train_batch_end(
            self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any
        ) -> None:
            if trainer.fit_loop.total_batch_idx == 2 * N_BATCHES - 1:
                assert isinstance(pl_module, SeriesModule)
                pl_module.model.encoder.weight.data.fill_(float("nan"))

    checkpoints = [
        ModelCheckpoint(tmp_path, "best", monitor="val/loss"),
        ModelCheckpoint(tmp_path, "last", save_on_train_epoch_end=True),
    ]

    with pytest.raises(NonFiniteLossError, match="in the validation after step 10; ") as error:
        fit(
            PLAN,
            callbacks=[Spoil(), StopAtNonFiniteLoss(PLAN), *checkpoints],
            enable_checkpointing=True,
            max_epochs=3,
        )

    assert f"Last good checkpoint: {tmp_path / 'last.ckpt'}. " in str(error.value)
    for path in tmp_path.iterdir():
        saved = torch.load(path, weights_only=True)
        assert saved["global_step"] == N_BATCHES


def test_a_resumed_run_names_the_checkpoint_that_it_came_from(tmp_path: Path) -> None:
    trainer = fit(PLAN, max_epochs=1).trainer
    trainer.save_checkpoint(tmp_path / "first.ckpt")

    with pytest.raises(NonFiniteLossError) as error:
        fit(
            PLAN,
            callbacks=[Poison(N_BATCHES + 1, "model.encoder.bias"), StopAtNonFiniteLoss(PLAN)],
            ckpt_path=tmp_path / "first.ckpt",
        )

    assert f"Last good checkpoint: {tmp_path / 'first.ckpt'}." in str(error.value)


def test_a_run_that_is_resumed_in_a_validation_ends_without_a_stage(tmp_path: Path) -> None:
    path, hook = tmp_path / "last.ckpt", "on_validation_batch_start"
    options: dict[str, Any] = {"limit_train_batches": 1, "max_epochs": 1}
    first = [StopAtInterrupt(path), SendSignal(0, hook), StopAtNonFiniteLoss(PLAN)]
    with pytest.raises(InterruptedRunError):
        # The first step leads to weights that overflow.
        fit(PLAN, make_module(partial(SGD, lr=1e25)), callbacks=first, **options)

    with pytest.raises(NonFiniteLossError) as error:
        fit(PLAN, callbacks=[StopAtNonFiniteLoss(PLAN)], ckpt_path=path, **options)

    said = "The loss became nan in the validation after step 1.\nLast good checkpoint: none."
    assert str(error.value).startswith(said)


@pytest.mark.parametrize("value", [float("nan"), 1e35], ids=["not finite", "far too large"])
def test_a_checkpoint_whose_weights_give_that_loss_is_never_named(
    value: float, tmp_path: Path
) -> None:
    class Spoil(pl.Callback):
        def on_train_batch_end(
            self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any
        ) -> None:
            if trainer.fit_loop.total_batch_idx == N_BATCHES - 1:
                for weight in pl_module.parameters():
                    weight.data.fill_(value)

    checkpoint = ModelCheckpoint(tmp_path, "last", save_on_train_epoch_end=True)

    with pytest.raises(NonFiniteLossError, match=r"Last good checkpoint: none\."):
        fit(
            PLAN,
            callbacks=[Spoil(), StopAtNonFiniteLoss(PLAN), checkpoint],
            enable_checkpointing=True,
            limit_val_batches=0,
        )

    assert (tmp_path / "last.ckpt").is_file()


def test_a_finite_run_is_left_alone() -> None:
    watched = fit(PLAN, callbacks=[StopAtNonFiniteLoss(PLAN)], max_epochs=1)

    assert torch.equal(watched.losses, fit(PLAN, max_epochs=1).losses)
