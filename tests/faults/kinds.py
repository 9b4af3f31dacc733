"""All kinds of faults to runs, and how often each is tried."""

from __future__ import annotations

import time
from random import Random

from gru_parallel.run_folder import RunFolder
from tests.faults import scene
from tests.faults.damage import DAMAGES, files_of
from tests.faults.scene import Scene
from tests.faults.starts import (
    Started,
    fork,
    fork_ranks,
    start_restarted,
    start_restarted_torchrun,
    start_torchrun,
)
from tests.faults.trial import (
    IN_A_CHECKPOINT,
    IN_A_STEP,
    Kind,
    kill,
    suspend,
    suspend_for_a_while,
)

TRAINING = (IN_A_STEP, IN_A_CHECKPOINT)
RANKS = ("rank 0", "rank 1")
PATIENCE = ("engine.timeout_s=5",)
LAUNCHED = ("engine.timeout_s=30",)
"""Programs start seconds apart on a busy machine."""
ENDED = "{victim} ended without a report"
SILENT = "{victim} has not answered"
FULL, READ_ONLY = "No space left on device", "Read-only file system"


def fill_disk(run: Started, scene: Scene, victim: str, random: Random) -> None:
    """Fill the disk, up to a number of bytes that may end in the middle of a checkpoint."""
    filler = scene.disk / "filler"
    left = random.randrange(0, 30_000)
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        with filler.open("r+b") as file:
            file.truncate(max(0, filler.stat().st_size - left))


def make_room(scene: Scene, random: Random) -> None:
    """Remove what fills the disk."""
    (scene.disk / "filler").unlink()


def make_read_only(run: Started, place: Scene, victim: str, random: Random) -> None:
    """Have the disk take no more writes, by a read-only view in its place.

    The disk itself cannot become read-only while a file is open for writing, as the run's lock is.
    """
    disk, view = str(place.disk), place.disk.with_name("view")
    view.mkdir()
    scene.run("mount", "--bind", disk, str(view))
    scene.run("mount", "-o", "remount,bind,ro", str(view))
    # As read-only as the view from the first moment.
    scene.run("mount", "--bind", str(view), disk)


def make_writable(place: Scene, random: Random) -> None:
    """Have the disk take writes again."""
    for view in (place.disk, place.disk.with_name("view")):
        scene.run("umount", "--lazy", str(view))


def cut(run: Started, scene: Scene, victim: str, random: Random) -> None:
    """Cut the link, at one of its ends."""
    assert scene.link is not None
    random.choice([scene.link.set_near, scene.link.set_far])("down")


def cut_for_a_while(run: Started, scene: Scene, victim: str, random: Random) -> None:
    """Cut the link for up to two seconds."""
    assert scene.link is not None
    scene.link.set_far("down")
    time.sleep(random.uniform(0.2, 2))
    scene.link.set_far("up")


def mend(scene: Scene, random: Random) -> None:
    """Mend the link."""
    assert scene.link is not None
    scene.link.set_near("up")
    scene.link.set_far("up")


def damage_newest(place: Scene, random: Random) -> None:
    """Damage the newest checkpoint, if there is one before it."""
    paths = RunFolder(place.run_folder).all_checkpoints
    if len(paths) > 1:
        newest = max(paths, key=lambda path: path.stat().st_mtime_ns)
        damage = random.choice(DAMAGES).damage
        damage(random.choice(files_of(newest)), random)


KINDS = (
    Kind("SIGKILL of the run", 24, fork, ("run",), kill),
    Kind(
        "SIGKILL of the run, started again by restart.sh",
        6,
        start_restarted,
        ("run",),
        kill,
        starts_within_s=4.0,
        restarts="supervisor",
    ),
    Kind(
        "SIGKILL of the run, newest checkpoint damaged",
        8,
        fork,
        ("run",),
        kill,
        heals=damage_newest,
        moments=TRAINING,
    ),
    Kind("SIGSTOP of the run, later SIGCONT", 6, fork, ("run",), suspend_for_a_while, goes_on=True),
    Kind("SIGKILL of a rank", 16, fork_ranks, RANKS, kill, PATIENCE, said=ENDED),
    Kind(
        "SIGKILL of a rank, newest checkpoint damaged",
        6,
        fork_ranks,
        RANKS,
        kill,
        PATIENCE,
        heals=damage_newest,
        moments=TRAINING,
        said=ENDED,
    ),
    Kind(
        "SIGKILL of a rank, started again by torchrun",
        4,
        start_torchrun,
        RANKS,
        kill,
        LAUNCHED,
        starts_within_s=6.0,
        restarts="launcher",
        said=ENDED,
    ),
    Kind(
        "SIGKILL of torchrun, started again by restart.sh",
        4,
        start_restarted_torchrun,
        ("launcher",),
        kill,
        LAUNCHED,
        starts_within_s=6.0,
        restarts="supervisor",
    ),
    Kind(
        "SIGSTOP of a rank",
        6,
        fork_ranks,
        RANKS,
        suspend,
        PATIENCE,
        keeps_victim=True,
        said=SILENT,
    ),
    Kind(
        "SIGSTOP of a rank, started again by torchrun",
        2,
        start_torchrun,
        RANKS,
        suspend,
        LAUNCHED,
        restarts="launcher",
        moments=TRAINING,
        said=SILENT,
    ),
    Kind(
        "SIGSTOP of a rank, later SIGCONT",
        4,
        fork_ranks,
        RANKS,
        suspend_for_a_while,
        LAUNCHED,
        goes_on=True,
    ),
    Kind(
        "link cut",
        6,
        fork_ranks,
        RANKS,
        cut,
        PATIENCE,
        scene=scene.with_link,
        heals=mend,
        is_private=True,
    ),
    Kind(
        "link cut for a while",
        4,
        fork_ranks,
        RANKS,
        cut_for_a_while,
        LAUNCHED,
        scene=scene.with_link,
        goes_on=True,
        is_private=True,
    ),
    Kind(
        "disk full",
        8,
        fork,
        ("run",),
        fill_disk,
        scene=scene.with_disk,
        heals=make_room,
        said=FULL,
        is_private=True,
    ),
    Kind(
        "disk full, under ranks",
        4,
        fork_ranks,
        ("rank 0",),
        fill_disk,
        PATIENCE,
        scene=scene.with_disk,
        heals=make_room,
        said=FULL,
        is_private=True,
    ),
    Kind(
        "disk read-only",
        8,
        fork,
        ("run",),
        make_read_only,
        scene=scene.with_disk,
        heals=make_writable,
        said=READ_ONLY,
        is_private=True,
    ),
)
