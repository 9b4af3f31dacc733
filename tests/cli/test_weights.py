"""Rows may count differently in the loss of training and validation."""

from pathlib import Path

import numpy as np
import pytest

from tests.cli.finished import OF_FILE, TEST_ROWS, series
from tests.cli.in_process import RunCommand, assert_refused, losses_of, rows_of, summary_of


@pytest.mark.filterwarnings("default::gru_parallel.errors.DataWarning")
def test_weights_change_the_training_and_not_what_the_test_compares(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    weight = np.ones(len(series()))
    series().assign(w=weight).to_csv("series.csv", index=False)
    alike = train_command(*OF_FILE, "data.weight=w", run="alike")
    weight[: TEST_ROWS.start : 3] = 0.0
    series().assign(w=weight).to_csv("series.csv", index=False)
    weighted = train_command(*OF_FILE, "data.weight=w", run="weighted")
    plain = train_command(*OF_FILE, "data.columns=[a,b,c]", run="plain")

    assert losses_of(alike) == losses_of(plain)
    assert summary_of(alike)["validation_loss"] == summary_of(plain)["validation_loss"]
    assert losses_of(weighted) != losses_of(plain)
    (validated,) = rows_of(weighted, "val/loss")
    assert float(validated["val/loss"]) != pytest.approx(float(validated["val/mse"]), rel=1e-4)

    # A file to test on needs no weights.
    series().to_csv("other.csv", index=False)
    assert use_command("evaluate", "run=weighted").status == 0
    tested = use_command("evaluate", "run=weighted", "data.path=other.csv", "output=there")
    assert tested.status == 0, tested.err
    # Nor is it said to be none of the run's columns where it is there.
    tested = use_command("evaluate", "run=weighted", "data.path=series.csv", "output=again")
    assert (tested.status, "ignored" in tested.err) == (0, False), tested.err
    last = "ckpt_path=weighted/checkpoints/last.ckpt"
    assert_refused(
        train_command(*OF_FILE, "data.columns=[a,b,c]", last, run="more"),
        ["written with data.weight=w", "has data.weight=null"],
    )
    assert not Path("more").exists()
