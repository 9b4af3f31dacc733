"""The training command over ranks: worlds of two, and a program that runs all of them.

    python -m tests.cli.rank_commands FOLDER NAME...

Each world runs in <FOLDER>/<name>, its ranks in a folder of their own each, <rank>. What a rank
prints is in <rank>/out and <rank>/err, and how it ended in <rank>/ended.json.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from gru_parallel import together, train
from gru_parallel.cli import run_under_hydra
from tests.cli.in_process import SMALL
from tests.forked_ranks import fork_ranks

N_RANKS = 2
ALL_END_WITHIN_S = 45.0
"""Those that are not harmed, and then those that are."""

TIMEOUT_S = 3.0
"""engine.timeout_s of a world of which a rank is stopped."""

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
DIVERGING = ("optimizer=sgd", "optimizer.lr=1e30")
FAIL = "+callbacks.harm={_target_: tests.cli.harm.Fail, rank: 1, batch: 4}"
STOP_BEFORE_METRICS = (
    "trainer.num_sanity_val_steps=1",
    "+callbacks.harm={_target_: tests.cli.harm.Stop, rank: 1, batch: -1,"
    " hook: on_validation_batch_end}",
)
"""In the validation before the first batch, after which ranks add up metrics at once."""

PATIENCE = f"engine.timeout_s={TIMEOUT_S}"
ENDLESS = "trainer.max_epochs=-1"
REPLICAS = ("engine.data_parallel=2", "placement.device_map=[0,0,0,0]")


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
    "other data": of_file(200, 220),
    "a file that one rank lacks": of_file(200, 0),
    "diverging": alike(*DIVERGING),
    "raising": alike(FAIL),
    "killed": alike(ENDLESS, number=signal.SIGKILL),
    "first killed": alike(ENDLESS, harmed=0, number=signal.SIGKILL),
    "stopped in a validation": alike(*STOP_BEFORE_METRICS, PATIENCE, stops=True),
    "stopped": alike(ENDLESS, PATIENCE, number=signal.SIGSTOP, stops=True),
}


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

    @classmethod
    def read(cls, folder: Path) -> Ended:
        """Read how the rank of a folder ended."""
        printed = {name: (folder / name).read_text() for name in ("out", "err")}
        return cls(**json.loads((folder / "ended.json").read_text()), **printed)


def run_command(world: World, folder: Path) -> None:
    """Run the command, as a rank of a world."""
    rank = int(os.environ["RANK"])
    os.chdir(folder / str(rank))
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), descriptor)
    if world.n_rows[rank] > 0:
        rows = (f"{row % 7},{row % 5}" for row in range(world.n_rows[rank]))
        Path("series.csv").write_text("\n".join(["a,b", *rows]))
    together.version = lambda _: world.versions[rank]  # type: ignore[assignment]
    sys.argv = ["train", *world.arguments[rank], f"hydra.run.dir={folder / 'run'}"]
    sys.exit(run_under_hydra(train.prepare, train.run))


def harm(world: World, processes: Sequence[ForkProcess], folder: Path, end: float) -> None:
    """Send a rank its signal, at a random moment of the training, but before the time `end`."""
    metrics = folder / "run" / "metrics.csv"
    while not metrics.is_file() or len(metrics.read_text().splitlines()) < 2:
        if time.monotonic() > end:
            return
        time.sleep(POLL_S)
    time.sleep(random.random())
    pid = processes[world.harmed].pid
    if pid is not None and world.number is not None:
        os.kill(pid, world.number)


def see_end(
    world: World, processes: Sequence[ForkProcess], folder: Path, began: float, end: float
) -> None:
    """Wait until all ranks have ended, and write down how; kill those that have not at `end`."""
    stopped = {world.harmed} if world.stops else set()
    for rank in sorted(range(N_RANKS), key=lambda rank: rank in stopped):
        processes[rank].join(0 if rank in stopped else max(0.0, end - time.monotonic()))
        after_s = time.monotonic() - began
        processes[rank].kill()
        processes[rank].join()
        ended = {"status": processes[rank].exitcode, "after_s": after_s}
        (folder / str(rank) / "ended.json").write_text(json.dumps(ended))


def begin(world: World, folder: Path) -> list[ForkProcess]:
    """Start the ranks of a world."""
    for rank in range(N_RANKS):
        (folder / str(rank)).mkdir(parents=True)
    return fork_ranks(N_RANKS, partial(run_command, world, folder))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    names = sys.argv[2:]
    # Those that are harmed by themselves: how soon they end is looked at.
    for is_harmed in (False, True):
        own = {name: WORLDS[name] for name in names if WORLDS[name].is_harmed == is_harmed}
        running = {name: begin(world, target / name) for name, world in own.items()}
        end = time.monotonic() + ALL_END_WITHIN_S
        began = {}
        for name, world in own.items():
            if world.number is not None:
                harm(world, running[name], target / name, end)
            began[name] = time.monotonic()
        for name, world in own.items():
            see_end(world, running[name], target / name, began[name], end)
