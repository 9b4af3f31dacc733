"""The training command over ranks: worlds of two, and what runs all of them."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch.distributed import TCPStore

from gru_parallel.app import commands, together
from tests.cli.composing import compose_once, load_configs_once
from tests.cli.in_process import SMALL
from tests.forked_ranks import ForkedRank
from tests.rank_processes import free_port, rank_environment

N_RANKS = 2
ALL_END_WITHIN_S = 45.0
"""Those of a phase: until the signals are sent, and so on."""

TIMEOUT_S = 5.0
"""engine.timeout_s of a world of which a rank is stopped."""

LONG_TIMEOUT_S = 10.0
"""The same where there is time to say before that the run makes no progress."""

POLL_S = 0.01

PROCESSES = (*SMALL, "engine=processes", "placement.device_map=[0,0,1,1]")
BUSY = (
    "lr_scheduler=cosine",
    "callbacks=early_stopping",
    "logger=csv",
    "model.dropout=0.2",
    "schedule.n_micro_batches=2",
    "trainer.gradient_clip_val=0.1",
    "trainer.enable_progress_bar=true",
)
RESTARTED = (*BUSY, "trainer.max_epochs=3")
KILL = "+callbacks.harm={_target_: tests.cli.harm.KillOnce, rank: 1, batch: 4}"
DIVERGING = ("optimizer=sgd", "optimizer.lr=1e30")
FAIL = "+callbacks.harm={_target_: tests.cli.harm.Fail, rank: 1, batch: 4}"
STOP_BEFORE_METRICS = (
    "trainer.num_sanity_val_steps=1",
    "+callbacks.harm={_target_: tests.cli.harm.Stop, rank: 1, batch: -1,"
    " hook: on_validation_batch_end}",
)
"""In the validation before the first batch, after which ranks add up metrics at once."""

AVERAGE = "+callbacks.average={_target_: lightning.pytorch.callbacks.EMAWeightAveraging}"
NO_SERVER = "+logger.harm={_target_: tests.cli.harm.NoServer, save_dir: logs}"
PATIENCE = f"engine.timeout_s={TIMEOUT_S}"
STALLS = (f"engine.timeout_s={LONG_TIMEOUT_S}", "watch.stalled_after_s=2")
ENDLESS = "trainer.max_epochs=-1"
LIMITED = ("data.batch_size=20", "trainer.limit_test_batches=2")
"""A test of 40 windows; 51 there are."""

REPLICAS = ("engine.data_parallel=2", "placement.device_map=[0,0,0,0]", *LIMITED)
INTERRUPT = "+callbacks.harm={_target_: tests.cli.harm.Interrupt, rank: 1, batch: 4}"


@dataclass(frozen=True)
class World:
    """A world of two ranks.

    Attributes:
        arguments: of the command, each rank's; the folder of the run is added.
        n_rows: of the file series.csv in the folder that each rank is started in; 0 for no file.
        versions: of gru_parallel, as each rank sees it.
        harmed: the rank that gets the signal.
        number: of the signal, sent at a random moment of the training; None for no signal.
        stops: whether the harmed rank is stopped, and does not end by itself.
    """

    arguments: tuple[Sequence[str], Sequence[str]]
    n_rows: tuple[int, int] = (0, 0)
    versions: tuple[str, str] = ("1", "1")
    harmed: int = 1
    number: signal.Signals | None = None
    stops: bool = False

    @property
    def is_harmed(self) -> bool:
        return self.stops or self.number is not None


def alike(*arguments: str, **options: Any) -> World:
    """Make a world whose ranks have the same arguments."""
    both = (*PROCESSES, *arguments)
    return World((both, both), **options)


def of_file(*n_rows: int) -> World:
    """Make a world that trains on a file, of which each rank has one of its own."""
    generated = ("data.n_steps", "data.n_channels")
    own = [argument for argument in PROCESSES if not argument.startswith(generated)]
    both = (*own, "data=csv", "data.path=series.csv")
    return World((both, both), n_rows=(n_rows[0], n_rows[1]))


WORLDS = {
    "busy": alike(*BUSY),
    "replicas": alike(*REPLICAS),
    "too many ranks": alike("placement.device_map=[0,0,0,0]"),
    "another config": World((PROCESSES, (*PROCESSES, "model.hidden_size=8"))),
    "another version": World((PROCESSES, PROCESSES), versions=("1", "2")),
    "a callback for all weights": alike(AVERAGE),
    "a logger without a server": alike(NO_SERVER),
    "other data": of_file(200, 200),
    "a file that one rank lacks": of_file(200, 0),
    "interrupted": alike(INTERRUPT, "watch.every_s=0.001"),
    "diverging": alike(*DIVERGING),
    "raising": alike(FAIL),
    "killed": alike(ENDLESS, number=signal.SIGKILL),
    "first killed": alike(ENDLESS, harmed=0, number=signal.SIGKILL),
    "stopped in a validation": alike(*STOP_BEFORE_METRICS, PATIENCE, stops=True),
    "stopped": alike(ENDLESS, *STALLS, number=signal.SIGSTOP, stops=True),
}

LONG = (
    "too many ranks",
    "another version",
    "a callback for all weights",
    "a logger without a server",
    "diverging",
    "raising",
    "first killed",
    "stopped",
)
"""Worlds for `make test-long` alone: what happens in them is tried without the command, too."""


@dataclass(frozen=True)
class Ended:
    """How a rank ended.

    Attributes:
        status: its exit status; negative for the signal that killed it.
        after_s: when it was seen that it had ended, in seconds since a rank was harmed.
        out: what it printed.
        err: what it printed as errors.
    """

    status: int
    after_s: float
    out: str
    err: str


Ends = Mapping[str, Sequence[Ended]]
"""How the ranks of each world ended, by the world's name."""


def run_command(world: World, folder: Path) -> None:
    """Run the command, as a rank of a world."""
    rank = int(os.environ["RANK"])
    if world.n_rows[rank] > 0:
        rows = (f"{row % 7},{row % (5 + rank)}" for row in range(world.n_rows[rank]))
        Path("series.csv").write_text("\n".join(["a,b", *rows]))
    together.__version__ = world.versions[rank]
    with pytest.MonkeyPatch.context() as patch:
        load_configs_once(patch)
        compose_once(patch)
        arguments = [*world.arguments[rank], f"hydra.run.dir={folder / 'run'}"]
        sys.exit(commands.run("train", arguments))


def harm(world: World, ranks: Sequence[ForkedRank], folder: Path, end: float) -> None:
    """Send a rank its signal, if any, at a random moment of the training before the time `end`."""
    if world.number is None:
        return
    metrics = folder / "run" / "metrics.csv"
    while not metrics.is_file() or len(metrics.read_text().splitlines()) < 2:
        if time.monotonic() > end:
            return
        time.sleep(POLL_S)
    time.sleep(random.random())
    ranks[world.harmed].signal(world.number)


def see_ends(
    world: World, ranks: Sequence[ForkedRank], folder: Path, began: float, end: float
) -> list[Ended]:
    """Wait until all ranks have ended, and return how; kill those that have not at `end`."""
    stopped = {world.harmed} if world.stops else set()
    after_s = {}
    while len(after_s) < N_RANKS - len(stopped) and time.monotonic() < end:
        for rank in set(range(N_RANKS)) - after_s.keys():
            if ranks[rank].poll() is not None:
                after_s[rank] = time.monotonic() - began
        time.sleep(POLL_S)
    statuses = [rank.kill() for rank in ranks]
    printed = [
        [(folder / str(rank) / name).read_text() for name in ("out", "err")]
        for rank in range(N_RANKS)
    ]
    return [
        Ended(statuses[rank], after_s.get(rank, end - began), *printed[rank])
        for rank in range(N_RANKS)
    ]


def begin(
    world: World, folder: Path, port: int, variables: Mapping[str, str] | None = None
) -> list[ForkedRank]:
    """Start the ranks of a world, with these variables besides those of every rank."""
    ranks = []
    for rank in range(N_RANKS):
        begins_in = folder / str(rank)
        begins_in.mkdir(parents=True, exist_ok=True)
        environment = os.environ | rank_environment(rank, N_RANKS, port) | dict(variables or {})
        ranks.append(ForkedRank(environment, partial(run_command, world, folder), begins_in))
    return ranks


def run_worlds(names: Sequence[str], folder: Path) -> Ends:
    """Run worlds at once, each in <folder>/<name>, and its ranks in folders of their own there."""
    ranks: dict[str, list[ForkedRank]] = {}
    began: dict[str, float] = {}

    def begin_all(of: Sequence[str]) -> None:
        ranks.update({name: begin(WORLDS[name], folder / name, free_port()) for name in of})
        began.update(dict.fromkeys(of, time.monotonic()))

    def see_all(of: Sequence[str]) -> Ends:
        end = time.monotonic() + ALL_END_WITHIN_S
        return {
            name: see_ends(WORLDS[name], ranks[name], folder / name, began[name], end)
            for name in of
        }

    stopped = [name for name in names if WORLDS[name].stops]
    killed = [name for name in names if WORLDS[name].is_harmed and name not in stopped]
    others = [name for name in names if not WORLDS[name].is_harmed]
    begin_all([*killed, *stopped])
    end = time.monotonic() + ALL_END_WITHIN_S
    for name in (*killed, *stopped):
        harm(WORLDS[name], ranks[name], folder / name, end)
        began[name] = time.monotonic()
    # How soon they end is looked at, so the others wait.
    ends = see_all(killed)
    # A silence takes its time.
    begin_all(others)
    return {**ends, **see_all(stopped), **see_all(others)}


def run_again_after_a_death(folder: Path) -> Sequence[Sequence[Ended]]:
    """Do what torchrun does with --max-restarts=1, for ranks one of which kills itself once.

    Returns:
        How the ranks of both attempts ended; what they printed is that of both.
    """
    world = alike(*RESTARTED, KILL)
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    attempts = []
    for attempt in range(2):
        variables = {
            "TORCHELASTIC_RESTART_COUNT": str(attempt),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
        }
        ranks = begin(world, folder, store.port, variables)
        began = time.monotonic()
        attempts.append(see_ends(world, ranks, folder, began, began + ALL_END_WITHIN_S))
    return attempts
