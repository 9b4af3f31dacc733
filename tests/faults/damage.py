"""Damage to checkpoints: what ckpt_path=last takes then, if it takes any, is as it was written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import torch

from gru_parallel.errors import UsageError
from gru_parallel.run_folder import RunFolder
from gru_parallel.training.checkpoint_file import read_checkpoint
from gru_parallel.training.newest import newest_checkpoint
from tests.faults.outcome import BAD, LOST, Outcome

Damage = Callable[[Path, Random], None]


def flip(file: Path, random: Random) -> None:
    """Flip one to eight bits."""
    content = bytearray(file.read_bytes())
    for _ in range(random.randint(1, 8)):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    file.write_bytes(content)


def truncate(file: Path, random: Random) -> None:
    """Cut off the end, of all bytes at most."""
    content = file.read_bytes()
    file.write_bytes(content[: random.randrange(len(content))])


def clear(file: Path, random: Random) -> None:
    """Overwrite a block with zeros, as a disk may leave it that lost its power."""
    content = bytearray(file.read_bytes())
    start = random.randrange(len(content))
    end = min(len(content), start + 512)
    content[start:end] = bytes(end - start)
    file.write_bytes(content)


@dataclass(frozen=True)
class DamageKind:
    """A kind of damage.

    Attributes:
        name: of the kind.
        n_trials: of the long suite.
        damage: harms one file.
    """

    name: str
    n_trials: int
    damage: Damage


DAMAGES = (
    DamageKind("bits of a checkpoint flipped", 60, flip),
    DamageKind("a checkpoint truncated", 40, truncate),
    DamageKind("a block of a checkpoint cleared", 20, clear),
)


def try_damage(
    kind: DamageKind, seed: int, number: int, runs: Sequence[Path], folder: Path
) -> Outcome:
    """Damage checkpoints of a run, between one and all, and ask which one would be taken.

    Args:
        kind: of the damage.
        seed: of all trials.
        number: of this one, among those of its kind; both together decide what is random.
        runs: folders of runs, one of which is copied.
        folder: for the copy.
    """
    random = Random(f"{seed} {kind.name} {number}")
    source = random.choice(runs)
    shutil.copytree(source / "checkpoints", folder / "checkpoints")
    files = RunFolder(folder)
    paths = sorted(files.all_checkpoints, key=saved_at, reverse=True)
    harmed = random.sample(paths, random.randint(1, len(paths)))
    whole = [path for path in paths if path not in harmed]
    for path in harmed:
        kind.damage(random.choice(files_of(path)), random)
    outcome = Outcome(kind.name, number, f"{len(harmed)} of {len(paths)}")
    try:
        taken, _ = newest_checkpoint(files)
    except UsageError:
        taken = None
    if taken is None:
        return replace(outcome, verdict=LOST, problem="a good one was left") if whole else outcome
    if not same(read_checkpoint(taken), read_checkpoint(source / "checkpoints" / taken.name)):
        return replace(outcome, verdict=BAD, problem=f"{taken.name} was taken")
    if whole and paths.index(taken) > paths.index(whole[0]):
        return replace(outcome, verdict=LOST, problem=f"{taken.name} was taken, an older one")
    return outcome


def saved_at(path: Path) -> float:
    """Return when a checkpoint was written."""
    return float(read_checkpoint(path)["saved_at"])


def files_of(path: Path) -> list[Path]:
    """Return the files of a checkpoint that have something in them."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [file for file in files if file.is_file() and file.stat().st_size]


def same(one: Any, other: Any) -> bool:
    """Compare two checkpoints to the bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
