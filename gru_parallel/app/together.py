"""Many ranks as one run: one folder, config and plan for all, and each error reported once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import torch
from omegaconf import DictConfig, OmegaConf

from gru_parallel.app.hydra_run import Load, Prepared, as_given, run_hydra
from gru_parallel.app.last_checkpoint import with_last_of_first
from gru_parallel.app.outcome import USAGE_ERROR, fail
from gru_parallel.app.run_folder import check_free
from gru_parallel.app.run_lock import FolderInUseError, RunLock, take_folder, wait_for_folder
from gru_parallel.app.shared_folder import check_shared
from gru_parallel.choices import LAST
from gru_parallel.config.overrides import compose_config, quoted, run_folder
from gru_parallel.config.plain import by_full_name
from gru_parallel.config.read_config import read_config
from gru_parallel.config.schema import ProcessesConfig
from gru_parallel.errors import UsageError
from gru_parallel.ranks import Launch, RankError, Ranks, check_alike, join
from gru_parallel.run_folder import RunFolder
from gru_parallel.version import __version__

Thing = TypeVar("Thing")


def run_as_rank(launch: Launch, engine: ProcessesConfig, run: Callable[[Ranks], int]) -> int:
    """Run together with the other ranks, and end with them.

    Args:
        launch: what the launcher told this process.
        engine: its settings.
        run: does the work, and returns the exit status.

    Returns:
        The exit status: 2 for a usage error.
    """
    try:
        ranks = join(launch, timeout_s=engine.timeout_s)
    except UsageError as error:
        # It is about this process alone.
        return fail(error, USAGE_ERROR)
    except RankError as error:
        return fail(f"rank {launch.rank}: {error}", 1)
    try:
        with ranks:
            try:
                return run(ranks)
            except (RuntimeError, OSError) as error:
                raise ranks.explain(error) from error
    except RankError as error:
        return fail(f"rank {launch.rank}: {error}", 1)


def train_together(arguments: list[str], load: Load[Prepared], lock: RunLock, ranks: Ranks) -> int:
    """Run a program of Hydra's together with the other ranks.

    Args:
        arguments: overrides, as on the command line.
        load: imports the program.
        lock: to hold the folder of the run by.
        ranks: of the run.

    Returns:
        The exit status: 2 for a usage error.
    """
    # That of the launcher's first attempt.
    shared = Path(ranks.shared_text("folder", lambda: str(run_folder(arguments))))
    folder = as_given(shared)
    try:
        wait_for_folder(lock, folder, ranks)
        common = common_arguments(arguments, shared, ranks)
        prepared = _prepare(common, folder, load, ranks)
        if prepared is None:
            return USAGE_ERROR
        take_folder(lock, folder, ranks)
    except FolderInUseError as error:
        return fail(error, error.status) if ranks.is_first else error.status
    try:
        check_shared(folder, ranks)
    except UsageError as error:
        return fail(error, USAGE_ERROR) if ranks.is_first else USAGE_ERROR
    return run_hydra(common, prepared, load, lock)


def _prepare(
    common: Sequence[str], folder: Path, load: Load[Prepared], ranks: Ranks
) -> Prepared | None:
    def prepare_here() -> Prepared:
        composed = compose_config(common)
        check_same_run(composed, ranks)
        config = read_config(composed)
        check_free(folder, config.ckpt_path)
        config = with_last_of_first(config, folder, ranks)
        prepare, _ = load()
        return prepare(config, ranks)

    return prepare_together(prepare_here, ranks)


def prepare_together(prepare: Callable[[], Prepared], ranks: Ranks) -> Prepared | None:
    """Prepare on every rank, and agree on whether the run can begin.

    Args:
        prepare: of this rank; raises UsageError for what cannot work.
        ranks: of the run.

    Returns:
        None where a rank found a problem, which one of them has printed.
    """
    prepared = make_together(prepare, ranks)
    if prepared is None:
        return None

    def checked() -> Prepared:
        prepared.check_together(ranks)
        return prepared

    return make_together(checked, ranks)


def make_together(make: Callable[[], Thing], ranks: Ranks) -> Thing | None:
    """Make something on every rank, or have all know that a rank could not.

    Args:
        make: makes that of this rank; raises UsageError for what cannot work.
        ranks: of the run.

    Returns:
        None where a rank found a problem, which one of them has printed.
    """
    thing: Thing | None = None
    problem: str | None = None
    try:
        thing = make()
    except UsageError as error:
        problem = str(error)
    problem, is_speaker = first_problem(problem, ranks)
    if is_speaker:
        fail(problem, USAGE_ERROR)
    return thing if problem is None else None


def common_arguments(arguments: Sequence[str], folder: Path, ranks: Ranks) -> list[str]:
    """Return the overrides of all ranks of a run: those given, and those that make them one run.

    A later attempt of the launcher is resumed from the newest good checkpoint that the run has
    written into its folder. Only the first rank writes Hydra's files.

    Args:
        arguments: overrides, as on the command line.
        folder: of the run.
        ranks: of the run.
    """
    common = [*arguments, f"hydra.run.dir={quoted(str(folder))}"]
    if _has_checkpoints_of_this_run(RunFolder(folder), ranks):
        # The weights that it began with are in the checkpoint.
        common += ["init_from=null", f"ckpt_path={LAST}"]
    if not ranks.is_first:
        common.append("hydra.output_subdir=null")
    return common


def _has_checkpoints_of_this_run(folder: RunFolder, ranks: Ranks) -> bool:
    """Whether an earlier attempt of this run has written a checkpoint."""
    before = ranks.shared_text("checkpoints before the run", lambda: _stamp(folder))
    # A store that ends with the attempt cannot tell.
    is_new = _stamp(folder) != before or not ranks.launch.uses_agent_store
    # The launchers of several machines count attempts separately.
    is_restart = ranks.any(ranks.is_restart, "whether the run is resumed")
    has_any = bool(folder.all_checkpoints)
    # The first rank decides: a file system may show the files to others later.
    return bool(ranks.broadcast(is_restart and is_new and has_any, "the last checkpoint"))


def _stamp(folder: RunFolder) -> str:
    """Return what distinguishes checkpoints from those that replace them; empty for none."""
    stamps = []
    for path in folder.all_checkpoints:
        # A rank of the attempt before may still be at work.
        with suppress(OSError):
            stamps.append(f"{path.name} {path.stat().st_mtime_ns}")
    return " ".join(stamps)


def check_same_run(composed: DictConfig, ranks: Ranks) -> None:
    """Check that all ranks run the same versions with the same config.

    Raises:
        UsageError: they do not; the message names what differs.
    """
    settings = by_full_name(OmegaConf.to_container(composed))
    _check_same(ranks, {name: str(value) for name, value in settings.items()})


def check_same_command(arguments: Sequence[str], ranks: Ranks) -> None:
    """Check that all ranks run the same versions with the same command line.

    Raises:
        UsageError: they do not; the message names what differs.
    """
    _check_same(ranks, {"command line": " ".join(arguments)})


def _check_same(ranks: Ranks, settings: Mapping[str, str]) -> None:
    check_alike(ranks, {"gru_parallel": __version__, "torch": torch.__version__, **settings})


def first_problem(problem: str | None, ranks: Ranks) -> tuple[str | None, bool]:
    """Agree on the first problem that any rank found.

    Args:
        problem: of this rank; None for none.
        ranks: of the run.

    Returns:
        problem: this rank's, or else the first of any rank; None if no rank has one.
        is_speaker: whether this rank is the first with this problem, and prints it.
    """
    problems = ranks.gather(problem, "all ranks to prepare the run")
    found = [each for each in problems if each is not None]
    if not found:
        return None, False
    said = problem or found[0]
    return said, problem is not None and problems.index(problem) == ranks.rank
