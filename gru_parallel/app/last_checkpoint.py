"""ckpt_path=last: the newest good checkpoint in the folder of the run, or a new run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gru_parallel.choices import LAST
from gru_parallel.config.schema import Config
from gru_parallel.errors import UsageError
from gru_parallel.run_folder import RunFolder

if TYPE_CHECKING:
    # With torch.
    from gru_parallel.ranks import Ranks


def with_last(config: Config, folder: Path | None) -> Config:
    """Return the settings with a path in the place of ckpt_path=last, and say what was found.

    Args:
        config: the run's settings; they stay as they are if they do not ask for the last one.
        folder: of the run; None if nobody knows it yet.

    Returns:
        Settings that resume, without `init_from`; or that begin anew, if there is no checkpoint.

    Raises:
        UsageError: the folder is not given, or none of its checkpoints is good.
    """
    if not config.asks_for_last:
        return config
    if folder is None:
        raise UsageError(
            f"ckpt_path={LAST} looks for checkpoints in the folder of the run, which is a new one;"
            " name it, as in hydra.run.dir=outputs/mine."
        )
    # With torch.
    from gru_parallel.training.newest import newest_checkpoint

    found, passed_over = newest_checkpoint(RunFolder(folder))
    for reason in passed_over:
        print(f"Passed over: {reason}.")
    if found is None:
        print(f"ckpt_path={LAST}: {folder} has no checkpoint yet; a new run begins there.")
        return replace(config, ckpt_path=None)
    return replace(config, ckpt_path=found, init_from=None)


def with_last_of_first(config: Config, folder: Path, ranks: Ranks) -> Config:
    """Do the same on all ranks, which take what rank 0 has found.

    Raises:
        UsageError: as from `with_last`, on all ranks.
    """
    if not config.asks_for_last:
        return config
    problem: str | None = None
    if ranks.is_first:
        try:
            config = with_last(config, folder)
        except UsageError as error:
            problem = str(error)
    what = "rank 0 to find the newest checkpoint"
    problem, ckpt_path, init_from = ranks.broadcast(
        (problem, config.ckpt_path, config.init_from), what
    )
    if problem is not None:
        raise UsageError(problem)
    return replace(config, ckpt_path=ckpt_path, init_from=init_from)
