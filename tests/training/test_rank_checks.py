"""What ranks cannot have is refused before the first step."""

from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, OnExceptionCheckpoint
from lightning.pytorch.plugins import MixedPrecision

from gru_parallel.errors import UsageError
from gru_parallel.training.rank_checks import check_for_ranks

QUIET = {"accelerator": "cpu", "logger": False, "enable_model_summary": False}


def make_trainer(**options: Any) -> pl.Trainer:
    return pl.Trainer(**QUIET, **options)


def test_a_trainer_of_which_ranks_can_have_all_is_allowed() -> None:
    check_for_ranks(
        make_trainer(
            precision="bf16-mixed", val_check_interval=0.5, callbacks=[ModelCheckpoint(".")]
        )
    )


def test_a_loss_scale_that_each_rank_would_have_of_its_own_is_refused() -> None:
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))

    with pytest.raises(UsageError, match=r"^precision=16-mixed scales .* use precision=bf16-mixed"):
        check_for_ranks(make_trainer(plugins=[plugin]))


def test_validations_that_each_rank_would_begin_by_its_own_clock_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"^trainer\.val_check_interval is a time \(90 s\), .* own"
    ):
        check_for_ranks(make_trainer(val_check_interval="00:00:01:30"))


def test_a_clock_for_validations_does_not_matter_where_nothing_trains() -> None:
    check_for_ranks(make_trainer(val_check_interval="00:00:01:30"), trains=False)


@pytest.mark.parametrize(
    "callback",
    [OnExceptionCheckpoint("."), ModelCheckpoint(".", save_on_exception=True)],
    ids=lambda callback: type(callback).__name__,
)
def test_a_checkpoint_for_which_a_failed_rank_would_wait_for_others_is_refused(
    callback: pl.Callback,
) -> None:
    with pytest.raises(
        UsageError, match=r"^The callback \w+.* writes .* where a rank fails, .* it;"
    ):
        check_for_ranks(make_trainer(callbacks=[callback]))
