"""A run that early stopping has ended is over, however often it is resumed."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import EarlyStopping

from gru_parallel.training.best_and_last import LastCheckpoint
from gru_parallel.training.early_stops import EarlyStops
from gru_parallel.training.ending import why_stopped_early
from tests.builders import make_plan
from tests.runs import N_BATCHES, Run, fit, make_module

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")

PLAN = make_plan([1, 1])


def train(last: Path, patience: int = 1, **options: Any) -> Run:
    """Train at most 5 epochs, of which none but the first is good enough."""
    threshold = options.pop("stopping_threshold", None)
    stopping = EarlyStopping(
        "val/loss", min_delta=9.0, patience=patience, stopping_threshold=threshold
    )
    return fit(
        PLAN,
        make_module(num_layers=2),
        callbacks=[stopping, EarlyStops(), LastCheckpoint(last)],
        enable_checkpointing=True,
        max_epochs=5,
        **options,
    )


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 1},
        {"stopping_threshold": 100.0},
        {"stopping_threshold": 100.0, "val_check_interval": 3},
    ],
)
def test_resumed_with_the_same_settings_it_trains_nothing(
    options: dict[str, Any], tmp_path: Path
) -> None:
    last = tmp_path / "last.ckpt"
    before = why_stopped_early(train(last, **options).trainer)

    for _ in range(2):
        again = train(last, **options, ckpt_path=last)
        now = why_stopped_early(again.trainer)

        assert len(again.losses) == 0
        assert before is not None
        assert now is not None
        assert now.startswith(before)
        assert "nothing is left to train" in now


def test_with_more_patience_it_trains_on_as_if_it_had_been_so_from_the_start(
    tmp_path: Path,
) -> None:
    last = tmp_path / "last.ckpt"
    train(last)

    rest = train(last, patience=3, ckpt_path=last)

    # Two epochs, then two more without any that is good enough.
    assert len(rest.losses) == 2 * N_BATCHES
    ended = why_stopped_early(rest.trainer)
    assert ended is not None
    assert ended.startswith("Stopped early in epoch 3")
    assert "left to train" not in ended
