"""Loggers get settings and result; none keeps a run from its end, and each run has its own."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from gru_parallel.assembly.loggers import begin_logging, end_logging
from gru_parallel.errors import UsageError

SETTINGS = {"seed": 0, "model": {"num_layers": 4, "dropout": None}}


class NoServer(CSVLogger):
    """One whose server does not answer."""

    def log_hyperparams(self, params: Any) -> None:
        raise ConnectionError("no route\nto host.")

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        raise ConnectionError("no route\nto host.")


class StandInForWandb(WandbLogger):
    """W&B without its package: remembers how its run was finished."""

    def __init__(self) -> None:
        self.ends: list[int] = []

    @property
    def experiment(self) -> Any:
        return self

    def finish(self, exit_code: int) -> None:
        self.ends.append(exit_code)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.logged = metrics

    def finalize(self, status: str) -> None:
        assert self.logged


def test_one_that_cannot_begin_ends_the_run_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        begin_logging([NoServer(tmp_path)], SETTINGS)

    assert str(refused.value) == (
        "logger: NoServer cannot begin (ConnectionError: no route to host); log in, have it write"
        " offline, or leave it out."
    )


@pytest.mark.filterwarnings("ignore:Experiment logs directory .* exists")
def test_the_csv_of_a_run_that_is_resumed_in_its_folder_keeps_its_rows(tmp_path: Path) -> None:
    for step in range(3):
        logger = CSVLogger(tmp_path, name="csv", version="")
        begin_logging([logger], SETTINGS)
        assert end_logging([logger], SETTINGS, {"loss": 0.5}, step, has_failed=False) == []

    files = sorted((tmp_path / "csv").glob("*.csv"))
    assert [file.name for file in files] == ["metrics.1.csv", "metrics.2.csv", "metrics.csv"]
    assert [file.read_text().split() for file in files] == [
        ["loss,step", f"0.5,{step}"] for step in range(3)
    ]


def test_the_first_rank_alone_puts_rows_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tmp_path / "csv" / "metrics.csv"
    rows.parent.mkdir()
    rows.touch()
    monkeypatch.setattr(rank_zero_only, "rank", 1)

    begin_logging([CSVLogger(tmp_path, name="csv", version="")], SETTINGS)

    assert rows.exists()


@pytest.mark.parametrize("has_failed", [False, True])
def test_a_run_of_wandb_ends_with_the_run_and_others_may_fail(
    has_failed: bool, tmp_path: Path
) -> None:
    wandb = StandInForWandb()
    loggers = [NoServer(tmp_path), wandb]

    problems = end_logging(loggers, SETTINGS, {"best/val_loss": 0.5}, 7, has_failed=has_failed)

    assert problems == [
        "Warning: NoServer did not take the result (ConnectionError: no route to host)."
    ]
    assert wandb.logged == {"best/val_loss": 0.5}
    assert wandb.ends == [has_failed]
