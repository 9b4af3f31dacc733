"""The line of an epoch."""

from dataclasses import replace

import pytest

from gru_parallel.report import epoch_line
from gru_parallel.training.epoch_record import EpochResult

RESULT = EpochResult(
    epoch=2,
    step=1500,
    is_end=True,
    train_loss=0.123456,
    validation={"val/loss": 0.2345678, "val/mse": 1.0},
    is_best=False,
    rate=1e-3 / 3,
    seconds=12.34,
)


@pytest.mark.parametrize(
    ("result", "n_epochs", "line"),
    [
        (RESULT, 5, "Epoch 2 (3 of 5): train 0.1235, val 0.2346, lr 0.000333, 12.3 s"),
        (RESULT, -1, "Epoch 2: train 0.1235, val 0.2346, lr 0.000333, 12.3 s"),
        (
            replace(RESULT, is_best=True, is_end=False),
            5,
            "Epoch 2 (3 of 5), step 1500: train 0.1235, val 0.2346 (best), lr 0.000333, 12.3 s",
        ),
        (replace(RESULT, validation={}), 5, "Epoch 2 (3 of 5): train 0.1235, lr 0.000333, 12.3 s"),
    ],
    ids=["the end of an epoch", "without an end", "within an epoch", "without a validation"],
)
def test_a_line_has_losses_rate_and_time(result: EpochResult, n_epochs: int, line: str) -> None:
    assert epoch_line(result, n_epochs) == line
