"""Finished runs for the tests of what comes after training, each trained but once."""

import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gru_parallel.app import commands as own
from tests.cli.composing import load_configs_once
from tests.cli.in_process import SMALL, Ended, RunCommand
from tests.forked_ranks import ForkedRank, wait_for_all
from tests.rank_processes import free_port, rank_environment

ALL_END_WITHIN_S = 60.0
N_ROWS, LENGTH, HORIZON = 120, 8, 3
TEST_ROWS = range(96, 120)
"""The last fifth."""

OF_FILE = (
    "data=csv",
    "data.path=series.csv",
    "data.target=[b,a]",
    f"data.input_length={LENGTH}",
    f"data.horizon={HORIZON}",
    "data.season_length=4",
    "data.batch_size=16",
    "placement.device_map=[0,0,1,1]",
    *(setting for setting in SMALL if not setting.startswith("data.")),
    "trainer.max_epochs=1",
)
"""A run on `series`, in two stages."""

_KEPT: dict[tuple[str, ...], dict[str, bytes]] = {}


def series(n_rows: int = N_ROWS, seed: int = 0) -> pd.DataFrame:
    """Make an hourly series of three columns."""
    walk = np.random.default_rng(seed).normal(size=(n_rows, 3)).cumsum(0)
    frame = pd.DataFrame(walk.round(3), columns=["a", "b", "c"])
    frame.insert(0, "date", pd.date_range("2024-01-01", periods=n_rows, freq="h"))
    return frame


def finish_run(train_command: RunCommand, *settings: str) -> Path:
    """Leave series.csv and the run of these settings in run/; return the folder of the run."""
    series().to_csv("series.csv", index=False)
    if settings not in _KEPT:
        ended = train_command(*settings)
        assert ended.status == 0, ended.err
        _KEPT[settings] = _files_in(ended.folder)
    else:
        for name, content in _KEPT[settings].items():
            path = Path("run") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return Path("run")


def _files_in(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def names_in(folder: Path) -> Sequence[str]:
    """Return all paths below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def use_over_ranks(commands: Sequence[Sequence[str]], folder: Path) -> list[list[Ended]]:
    """Run commands, each over two ranks and all at once; return how the ranks of each ended.

    Args:
        commands: name and settings of each.
        folder: where they begin.
    """
    ranks = []
    for number, command in enumerate(commands):
        port = free_port()
        for rank in range(2):
            prints_in = folder / f"printed-{number}-{rank}"
            prints_in.mkdir()
            environment = os.environ | rank_environment(rank, 2, port)
            work = partial(_be_rank, folder, tuple(command))
            ranks.append((ForkedRank(environment, work, prints_in), prints_in))
    wait_for_all([rank for rank, _ in ranks], time.monotonic() + ALL_END_WITHIN_S)
    ended = [
        Ended(rank.kill(), *((printed / name).read_text() for name in ("out", "err")), folder)
        for rank, printed in ranks
    ]
    return [ended[first : first + 2] for first in range(0, len(ended), 2)]


def _be_rank(folder: Path, command: tuple[str, ...]) -> None:
    os.chdir(folder)
    name, *arguments = command
    with pytest.MonkeyPatch.context() as patch:
        load_configs_once(patch)
        sys.exit(own.run(name, arguments))
