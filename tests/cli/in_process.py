"""Runs the commands inside this process, which takes a tenth of the time of a new one."""

import csv
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.hydra_config import HydraConfig

from gru_parallel.app import backtest, predict, train
from gru_parallel.app import commands as own
from gru_parallel.assembly import data
from gru_parallel.data.lorenz96 import lorenz96_table
from gru_parallel.training.checkpoint_file import read_checkpoint
from tests.cli.composing import (
    compose_once,
    load_configs_once,
    read_sections_once,
    write_no_configs,
)

SMALL = (
    "data.n_steps=260",
    "data.n_channels=4",
    "data.input_length=8",
    "data.horizon=2",
    "data.batch_size=64",
    "model.hidden_size=4",
    "schedule.n_chunks=4",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
)
"""A run of six steps: 182 training rows make 173 windows, in batches of 64, 64 and 45."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: its exit status.
        out: what it printed.
        err: what it printed as errors.
        folder: of the run; not there where the command made none.
    """

    status: int
    out: str
    err: str
    folder: Path


RunCommand = Callable[..., Ended]

NO_PICTURE = b""
"""What pictures hold unless they are asked for: to draw one takes a sixth of a small run."""

_SERIES = cache(lorenz96_table)
_WRITTEN: dict[tuple[str, ...], dict[str, bytes]] = {}
_LOOKED_AT: dict[tuple[str, ...], Ended] = {}


def commands(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[RunCommand, RunCommand, RunCommand, RunCommand]:
    """Return train, plan, verify and those that use a run as functions, run in `folder`."""
    load_configs_once(monkeypatch)
    read_sections_once(monkeypatch)
    monkeypatch.setattr(data, "lorenz96_table", _SERIES)

    def end(status: int, run_folder: Path) -> Ended:
        printed = capsys.readouterr()
        return Ended(status, printed.out, printed.err, run_folder)

    def run_train(
        *overrides: str, run: str = "run", flags: tuple[str, ...] = (), draws: bool = False
    ) -> Ended:
        arguments = [*flags, *overrides, f"hydra.run.dir={run}"]
        # Hydra reads it, and hydra_run changes it.
        monkeypatch.setattr(sys, "argv", ["train", *arguments])
        # hydra.main would set it for good.
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        # A process begins with none; that of another test would name another folder.
        monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
        capsys.readouterr()
        with monkeypatch.context() as patch:
            compose_once(patch)
            write_no_configs(patch)
            if not draws:
                for draw in ("draw_step", "draw_forecasts"):
                    patch.setattr(train, draw, _write_no_picture)
            status = own.run("train", arguments)
        return end(status, folder / run)

    def run_plan(*overrides: str) -> Ended:
        capsys.readouterr()
        return end(own.run("plan", overrides), folder)

    def run_verify(*overrides: str) -> Ended:
        # The command would turn it off for good.
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
        capsys.readouterr()
        return end(own.run("verify", overrides), folder)

    def run_use(name: str, *arguments: str, draws: bool = False) -> Ended:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            if not draws:
                for command in (backtest, predict):
                    patch.setattr(command, "draw_forecasts", _write_no_picture)
            status = own.run(name, arguments)
        return end(status, folder)

    return run_train, run_plan, run_verify, run_use


def _write_no_picture(*arguments: Any) -> None:
    arguments[-1].write_bytes(NO_PICTURE)


def rows_of(ended: Ended, column: str = "train/loss") -> list[dict[str, str]]:
    """Return the rows of metrics.csv that have a column, by default those of steps."""
    assert ended.status == 0, ended.err
    with (ended.folder / "metrics.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row[column]]


def losses_of(ended: Ended) -> list[str]:
    """Return the losses in metrics.csv, as they are written there."""
    return [row["train/loss"] for row in rows_of(ended)]


def summary_of(ended: Ended) -> dict[str, Any]:
    """Return what is in summary.json."""
    summary: dict[str, Any] = json.loads((ended.folder / "summary.json").read_text())
    return summary


def checkpoint_of(ended: Ended, name: str = "last") -> dict[str, Any]:
    """Return the last or the best checkpoint of a run."""
    path = ended.folder / "checkpoints" / f"{name}.ckpt"
    return read_checkpoint(path)


def assert_refused(ended: Ended, fragments: Sequence[str], *, most_lines: int = 1) -> None:
    """Hold that a command ended with status 2, a message that says all of this, and no more."""
    assert (ended.status, ended.out) == (2, ""), ended.out
    lines = ended.err.splitlines()
    assert 1 <= len(lines) <= most_lines, ended.err
    assert lines[0].startswith("gru_parallel: ")
    assert [fragment for fragment in fragments if fragment not in ended.err] == [], ended.err


def assert_same_weights(one: Ended, other: Ended, which: str = "last") -> None:
    """Compare the last or the best checkpoints of two runs to the last bit."""
    expected = checkpoint_of(other, which)["state_dict"]
    for name, weight in checkpoint_of(one, which)["state_dict"].items():
        assert torch.equal(weight, expected[name]), name


def look_at(train_command: RunCommand, *settings: str) -> Ended:
    """Return a run that tests only look at, which the first of them makes for all of its file.

    Its folder is in that of the first test, and nothing may change there.
    """
    if settings not in _LOOKED_AT:
        _LOOKED_AT[settings] = train_command(*settings)
    return _LOOKED_AT[settings]


def write_first(train_command: RunCommand, *settings: str) -> Path:
    """Leave the checkpoints of a run in first/, which is trained but once for all tests."""
    folder = Path.cwd() / "first" / "checkpoints"
    if settings not in _WRITTEN:
        ended = train_command(*settings, run="first")
        assert ended.status == 0, ended.err
        _WRITTEN[settings] = {path.name: path.read_bytes() for path in folder.iterdir()}
        shutil.rmtree(folder.parent)
    folder.mkdir(parents=True)
    for name, content in _WRITTEN[settings].items():
        (folder / name).write_bytes(content)
    return folder / "last.ckpt"
