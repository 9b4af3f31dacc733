"""A trial: a run is harmed at a random moment, resumed, and compared with one left alone."""

from __future__ import annotations

import csv
import json
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import torch

from gru_parallel.run_folder import RunFolder
from gru_parallel.training.checkpoint_file import read_checkpoint
from tests.cli.in_process import SMALL
from tests.faults.outcome import BAD, HANG, LOST, UNNAMED, Outcome
from tests.faults.scene import Scene, plain
from tests.faults.starts import POLL_S, Start, Started, fork
from tests.faults.witness import CHECKPOINT, STEP, Account

START_UP, IN_A_STEP, IN_A_CHECKPOINT = "at start-up", "in a step", "in a checkpoint"
MOMENTS = (START_UP, IN_A_STEP, IN_A_CHECKPOINT)
ASYNC = ("false", "true")

SETTINGS = (
    *SMALL,
    "data.batch_size=16",
    "trainer.max_epochs=4",
    "trainer.gradient_clip_val=0.1",
    "model.dropout=0.2",
    "lr_scheduler=cosine",
    "schedule.n_micro_batches=2",
    "placement.device_map=[0,0,1,1]",
    "checkpoint.every_n_train_steps=4",
    "ckpt_path=last",
)
"""Of every run: 4 epochs of 11 steps, with a checkpoint after 4 and 8 steps of each."""

NUMBERS = ("train/loss", "lr", "train/loss_epoch", "val/loss", "val/mse", "val/mae")
"""The columns of metrics.csv that are the same in every run with these settings."""

N_STEPS = 44
N_CHECKPOINTS = 16

ALL_END_WITHIN_S = 90.0
COMPLETE_WITHIN_S = 180.0

Harm = Callable[[Started, Scene, str, Random], None]
"""Harms one process of a run, or what it needs."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: of the fault, and of how the run was started.
        n_trials: of the long suite.
        start: starts a run.
        victims: the processes of which one is harmed.
        harm: does it.
        settings: of the run, besides SETTINGS.
        starts_within_s: about the time until the first step.
        scene: where it takes place.
        heals: what is done before the run is resumed: it undoes the harm, say.
        goes_on: whether the run is not to end by the fault.
        restarts: the process that starts the others again; empty where nothing does.
        keeps_victim: whether the victim cannot end by itself.
        moments: at which it is harmed.
        is_private: whether it needs namespaces.
        said: what the other processes have to say of it, where it happens in the training.
    """

    name: str
    n_trials: int
    start: Start
    victims: tuple[str, ...]
    harm: Harm
    settings: tuple[str, ...] = ()
    starts_within_s: float = 1.0
    scene: Callable[[Path], AbstractContextManager[Scene]] = plain
    heals: Callable[[Scene, Random], None] = lambda *_: None
    goes_on: bool = False
    restarts: str = ""
    keeps_victim: bool = False
    moments: tuple[str, ...] = MOMENTS
    is_private: bool = False
    said: str = ""


@dataclass(frozen=True)
class Result:
    """What a run came to, as far as it is the same however often the run was resumed.

    Attributes:
        rows: of metrics.csv, without speeds and pace.
        weights: of the last checkpoint.
        metrics: of the test.
    """

    rows: list[dict[str, str]]
    weights: dict[str, torch.Tensor] = field(repr=False)
    metrics: dict[str, float]

    @classmethod
    def read(cls, folder: Path) -> Result:
        """Read it from the folder of a run."""
        files = RunFolder(folder)
        with files.metrics.open(newline="") as file:
            read = list(csv.DictReader(file))
        # Rows of the pace have none of these.
        rows = [
            {name: row[name] for name in ("epoch", "step", *NUMBERS)}
            for row in read
            if any(row[n] for n in NUMBERS)
        ]
        summary: dict[str, Any] = json.loads(files.summary.read_text())
        return cls(rows, read_checkpoint(files.last)["state_dict"], summary["test_metrics"])

    def difference(self, other: Result) -> str:
        """Say in what another result differs; empty for nothing."""
        for one, two in zip(self.rows, other.rows, strict=False):
            if one != two:
                return f"metrics.csv has {two} where {one} was expected"
        if len(self.rows) != len(other.rows):
            return f"metrics.csv has {len(other.rows)} rows, not {len(self.rows)}"
        for name, weight in self.weights.items():
            if not torch.equal(weight, other.weights[name]):
                return f"{name} differs"
        return "" if self.metrics == other.metrics else f"the test came to {other.metrics}"


class Failure(Exception):
    """A trial shows a fault of the product: its verdict, and the problem in words."""


def undisturbed(folder: Path, start: Start = fork, *settings: str) -> Result:
    """Train without a fault, for all trials to be compared with."""
    scene = Scene(folder)
    run = start(scene, arguments(scene, settings))
    try:
        _wait_for_success(run, time.monotonic() + COMPLETE_WITHIN_S)
    finally:
        run.kill()
    return Result.read(scene.run_folder)


def arguments(scene: Scene, settings: Sequence[str] = ()) -> list[str]:
    """Return the arguments of a run, the same ones whether it begins or is resumed."""
    witness = f"{{_target_: tests.faults.witness.Witness, folder: {scene.witnessed}}}"
    return [
        *SETTINGS,
        *settings,
        f"+callbacks.witness={witness}",
        f"hydra.run.dir={scene.run_folder}",
    ]


def try_fault(kind: Kind, seed: int, number: int, expected: Result, folder: Path) -> Outcome:
    """Harm a run at a random moment; return what became of it.

    Args:
        kind: of the fault.
        seed: of all trials.
        number: of this one, among those of its kind; both together decide what is random.
        expected: the result of a run without a fault.
        folder: empty, for the trial.
    """
    random = Random(f"{seed} {kind.name} {number}")
    outcome = Outcome(kind.name, number, random.choice(kind.moments))
    with kind.scene(folder) as scene:
        trial = _Trial(kind, scene, random, outcome.moment)
        try:
            measured = trial.harm_and_resume()
            if difference := expected.difference(Result.read(scene.run_folder)):
                raise Failure(BAD, difference)
        except Failure as failure:
            verdict, problem = failure.args
            return replace(outcome, verdict=verdict, problem=problem)
        finally:
            trial.end()
    return replace(outcome, **measured)


class _Trial:
    def __init__(self, kind: Kind, scene: Scene, random: Random, moment: str) -> None:
        self._kind = kind
        self._scene = scene
        self._random = random
        self._moment = moment
        self._account = Account(scene.witnessed)
        self._settings = (*kind.settings, f"checkpoint.async={random.choice(ASYNC)}")
        self._runs: list[Started] = []

    def end(self) -> None:
        for run in self._runs:
            run.kill()

    def harm_and_resume(self) -> dict[str, Any]:
        """Return what was measured, by the names of `Outcome`."""
        kind, run = self._kind, self._start()
        self._wait_for_moment(run)
        victim = self._random.choice(kind.victims)
        before, said = run.running(), run.said()
        harmed_at = time.monotonic()
        kind.harm(run, self._scene, victim, self._random)
        harmed_for_s = time.monotonic() - harmed_at
        measured: dict[str, Any] = {}
        if not kind.goes_on:
            stays = {kind.restarts} | ({victim} if kind.keeps_victim else set())
            awaited = {pid for name, pid in before.items() if name not in stays}
            others = awaited - {before.get(victim)}
            measured = self._watch(run, harmed_at, said, awaited, others)
            if victim in before:
                self._check_named(run, victim)
            if not kind.restarts:
                run.kill()
                kind.heals(self._scene, self._random)
                run = self._start()
        _wait_for_success(run, time.monotonic() + COMPLETE_WITHIN_S)
        if kind.goes_on:
            again_at = self._account.next_step_at(harmed_at + harmed_for_s)
        else:
            again_at = self._account.trains_again_at(harmed_at)
        measured["again_s"] = None if again_at is None else again_at - harmed_at
        return measured | {"steps_repeated": self._account.steps_repeated()}

    def _start(self) -> Started:
        run = self._kind.start(self._scene, arguments(self._scene, self._settings))
        self._runs.append(run)
        return run

    def _wait_for_moment(self, run: Started) -> None:
        """Wait until the moment has come, or the run has ended without it."""
        random, end = self._random, time.monotonic() + COMPLETE_WITHIN_S
        if self._moment == START_UP:
            end = time.monotonic() + random.uniform(0, self._kind.starts_within_s)
            name, count, then_s = STEP, 1, 0.0
        elif self._moment == IN_A_STEP:
            name, count, then_s = STEP, random.randrange(1, N_STEPS - 4), random.uniform(0, 0.03)
        else:
            name, count = CHECKPOINT, random.randrange(1, N_CHECKPOINTS)
            then_s = random.uniform(0, 0.01)
        while self._account.count(name) < count and run.running() and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(then_s)

    def _check_named(self, run: Started, victim: str) -> None:
        expected = self._kind.said.format(victim=victim)
        if self._moment != START_UP and expected not in run.said():
            raise Failure(UNNAMED, f"nobody said {expected!r}: {_tail(run)}")

    def _watch(
        self, run: Started, harmed_at: float, said: str, awaited: set[int], others: set[int]
    ) -> dict[str, float]:
        """Wait until the processes that are awaited have ended; return how long all took."""
        noticed_at: float | None = None
        while True:
            left = awaited & set(run.running().values())
            now = time.monotonic()
            if noticed_at is None and (others - left or not left or run.said() != said):
                noticed_at = now
            if not left:
                return {"notice_s": (noticed_at or now) - harmed_at, "end_s": now - harmed_at}
            if now - harmed_at > ALL_END_WITHIN_S:
                raise Failure(
                    HANG,
                    f"{sorted(run.running())} still run after {ALL_END_WITHIN_S:g} s: {_tail(run)}",
                )
            time.sleep(POLL_S)


def _wait_for_success(run: Started, end: float) -> None:
    while running := run.running():
        if time.monotonic() > end:
            raise Failure(HANG, f"{sorted(running)} did not complete: {_tail(run)}")
        time.sleep(POLL_S)
    if status := run.status():
        raise Failure(LOST, f"ended with status {status}: {_tail(run)}")


def _tail(run: Started) -> str:
    return " | ".join(run.said().strip().splitlines()[-3:])


def kill(run: Started, scene: Scene, victim: str, random: Random) -> None:
    """SIGKILL."""
    run.signal(victim, signal.SIGKILL)


def suspend(run: Started, scene: Scene, victim: str, random: Random) -> None:
    """SIGSTOP."""
    run.signal(victim, signal.SIGSTOP)


def suspend_for_a_while(run: Started, scene: Scene, victim: str, random: Random) -> None:
    """SIGSTOP, and after up to two seconds SIGCONT."""
    run.signal(victim, signal.SIGSTOP)
    time.sleep(random.uniform(0.2, 2))
    run.signal(victim, signal.SIGCONT)
