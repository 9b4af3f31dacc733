"""Checks that what is run fits the way in which this process was started."""

from __future__ import annotations

from gru_parallel.config.schema import EngineConfig, ProcessesConfig
from gru_parallel.errors import UsageError
from gru_parallel.ranks.launch import Launch


def check_launch(engine: EngineConfig, launch: Launch | None, program: str = "train") -> None:
    """Check that an engine fits the way this process was started.

    Args:
        engine: its settings.
        launch: what the launcher told this process; None where there is none.
        program: the command that runs.

    Raises:
        UsageError: it does not.
    """
    n_ranks = 1 if launch is None else launch.world_size
    if isinstance(engine, ProcessesConfig):
        if launch is None:
            slurm = ", or scripts/slurm.sh under SLURM" if program == "train" else ""
            raise UsageError(
                "engine=processes has one process per stage, which torchrun starts:"
                f" torchrun --nproc-per-node 4 -m gru_parallel.{program} engine=processes ..."
                f"{slurm}."
            )
    elif n_ranks > 1:
        raise UsageError(
            f"engine={engine.name} runs in one process, but {n_ranks} were started; add"
            " engine=processes, or start it without torchrun."
        )


def check_no_sweep(launch: Launch | None) -> None:
    """Refuse a sweep if many processes were started.

    Raises:
        UsageError: see above.
    """
    if launch is not None and launch.world_size > 1:
        raise UsageError(
            f"A sweep is many runs, and {launch.world_size} processes were started for one; leave"
            " out --multirun, start torchrun once for each run, and put them side by side with"
            " gru-parallel compare."
        )
