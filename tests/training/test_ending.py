"""What is said of a training that ended early, and that nothing is said of any other."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.callbacks import EarlyStopping

from gru_parallel.training.ending import why_stopped_early
from tests.builders import make_plan
from tests.runs import fit

PLAN = make_plan([2, 2])


class Stop(pl.Callback):
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = True


def impatient(**options: Any) -> EarlyStopping:
    # No epoch is good enough.
    return EarlyStopping("val/loss", min_delta=9.0, **options)


@pytest.mark.parametrize(
    ("callbacks", "options", "said"),
    [
        (
            [impatient(patience=2)],
            {},
            "Stopped early in epoch 2: Monitored metric val/loss did not improve in the last 2"
            " records. Best score:",
        ),
        (
            [EarlyStopping("val/loss", stopping_threshold=100.0)],
            {},
            "Stopped early in epoch 0: Stopping threshold reached: val/loss = ",
        ),
        (
            [],
            {"max_time": timedelta(microseconds=1)},
            "Stopped early in epoch 0: the time of trainer.max_time is over.",
        ),
        ([Stop()], {}, "Stopped early in epoch 0: a callback told it to."),
    ],
    ids=["patience", "a threshold", "time", "a callback"],
)
def test_a_run_that_ends_early_says_why(
    callbacks: list[pl.Callback], options: dict[str, Any], said: str
) -> None:
    run = fit(PLAN, callbacks=callbacks, max_epochs=6, **options)

    reason = why_stopped_early(run.trainer)

    assert reason is not None
    assert reason.startswith(said)
    assert "Trainer" not in reason


@pytest.mark.parametrize(
    ("callbacks", "options"),
    [
        ([], {"max_epochs": 2}),
        ([], {"max_epochs": -1, "max_steps": 7}),
        # It would have ended there anyhow.
        ([impatient(patience=1)], {"max_epochs": 2}),
        ([impatient(patience=1)], {"max_epochs": -1, "max_steps": 10}),
    ],
    ids=["epochs", "steps", "the last epoch", "the last step"],
)
def test_of_a_run_that_ends_where_it_was_to_end_nothing_is_said(
    callbacks: list[pl.Callback], options: dict[str, Any]
) -> None:
    assert why_stopped_early(fit(PLAN, callbacks=callbacks, **options).trainer) is None


def test_a_run_that_goes_on_from_an_early_end_to_its_last_epoch_does_not_repeat_the_reason(
    tmp_path: Path,
) -> None:
    first = fit(PLAN, callbacks=[impatient(patience=1)], max_epochs=6)
    assert why_stopped_early(first.trainer) is not None
    first.trainer.save_checkpoint(tmp_path / "early.ckpt")

    second = fit(
        PLAN, callbacks=[impatient(patience=1)], max_epochs=3, ckpt_path=tmp_path / "early.ckpt"
    )

    assert second.trainer.current_epoch == 3
    assert why_stopped_early(second.trainer) is None


def test_a_run_that_ends_within_its_last_epoch_says_why() -> None:
    threshold = EarlyStopping("val/loss", stopping_threshold=100.0)

    run = fit(PLAN, callbacks=[threshold], max_epochs=1, val_check_interval=3)

    reason = why_stopped_early(run.trainer)
    assert reason is not None
    assert reason.startswith("Stopped early in epoch 0: Stopping threshold reached")
