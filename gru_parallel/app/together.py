"""Many ranks as one run: one folder, one config and one plan for all, and each error said once."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from gru_parallel.config.overrides import quoted, run_folder
from gru_parallel.config.schema import Config, ProcessesConfig, by_full_name
from gru_parallel.errors import UsageError
from gru_parallel.ranks import Launch, Ranks, check_alike
from gru_parallel.run_folder import RunFolder


def check_launch(config: Config, launch: Launch | None) -> None:
    """Refuse an engine that does not go with how this process was started.

    Raises:
        UsageError: see above.
    """
    n_ranks = 1 if launch is None else launch.world_size
    if isinstance(config.engine, ProcessesConfig):
        if launch is None:
            raise UsageError(
                "engine=processes has a process for each stage, which torchrun starts:"
                " torchrun --nproc-per-node 4 -m gru_parallel.train engine=processes ..., or"
                " scripts/slurm.sh under SLURM."
            )
    elif n_ranks > 1:
        raise UsageError(
            f"engine={config.engine.name} runs in one process, but {n_ranks} were started; add"
            " engine=processes, or start it without torchrun."
        )


def check_no_sweep(launch: Launch | None) -> None:
    """Refuse a sweep where many processes were started.

    Raises:
        UsageError: see above.
    """
    if launch is not None and launch.world_size > 1:
        raise UsageError(
            f"A sweep is many runs, and {launch.world_size} processes were started for one; leave"
            " out --multirun, and start torchrun once for each run."
        )


def common_arguments(arguments: Sequence[str], ranks: Ranks) -> list[str]:
    """Return the overrides of all ranks of a run: theirs, and what makes them one run.

    The folder is that of the launcher's first attempt; a later attempt is resumed from the
    last checkpoint that the run has written into it. The first rank alone writes what Hydra writes.

    Args:
        arguments: overrides, as on the command line.
        ranks: of the run.
    """
    folder = Path(ranks.shared_text("folder", lambda: str(run_folder(arguments))))
    common = [*arguments, f"hydra.run.dir={quoted(str(folder))}"]
    last = RunFolder(folder).last
    if _is_own(last, ranks):
        # What it began with is in the checkpoint.
        common += ["init_from=null", f"ckpt_path={quoted(str(last))}"]
    if not ranks.is_first:
        common.append("hydra.output_subdir=null")
    return common


def _is_own(last: Path, ranks: Ranks) -> bool:
    """Whether an earlier attempt of this run has written its last checkpoint."""
    before = ranks.shared_text("last checkpoint before the run", lambda: _stamp(last))
    # A store that ends with the attempt has nothing to remember.
    is_new = _stamp(last) != before or not ranks.launch.uses_agent_store
    # The launchers of several machines count attempts each for itself.
    is_restart = ranks.any(ranks.is_restart, "whether the run is resumed")
    # The first rank's word counts: a file system may show the file to others later.
    return bool(ranks.broadcast(is_restart and is_new and last.is_file(), "the last checkpoint"))


def _stamp(path: Path) -> str:
    """Return what tells a file from the one that replaces it; empty where there is none."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_mtime_ns} {status.st_size}"


def check_same_run(composed: DictConfig, ranks: Ranks) -> None:
    """Check that all ranks run the same versions with the same config.

    Raises:
        UsageError: they do not; names what differs.
    """
    versions = {"gru_parallel": version("gru-parallel"), "torch": torch.__version__}
    settings = by_full_name(OmegaConf.to_container(composed))
    check_alike(ranks, versions | {name: str(value) for name, value in settings.items()})


def first_problem(problem: str | None, ranks: Ranks) -> tuple[str | None, bool]:
    """Agree on the first problem that any rank found.

    Args:
        problem: of this rank; None for none.
        ranks: of the run.

    Returns:
        problem: this rank's, or else the first of any rank's; None where no rank has one.
        is_speaker: whether this rank is the first that has this problem, and says so.
    """
    problems = ranks.gather(problem, "all ranks to prepare the run")
    found = [each for each in problems if each is not None]
    if not found:
        return None, False
    said = problem or found[0]
    return said, problem is not None and problems.index(problem) == ranks.rank
