"""Runs a program under Hydra, which creates the folder of the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import chdir, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from gru_parallel.app.last_checkpoint import with_last
from gru_parallel.app.outcome import USAGE_ERROR, fail, is_of_the_disk
from gru_parallel.app.run_folder import check_free
from gru_parallel.app.run_lock import FolderInUseError, RunLock, take_folder
from gru_parallel.config.folders import conf_dir
from gru_parallel.config.for_hydra import for_hydra
from gru_parallel.config.overrides import CONFIG_NAME
from gru_parallel.config.read_config import read_config
from gru_parallel.config.schema import Config
from gru_parallel.errors import UsageError
from gru_parallel.ranks import RankError

if TYPE_CHECKING:
    # With torch.
    from gru_parallel.ranks import Ranks


class PreparedRun(Protocol):
    """A run that has passed all checks of one process."""

    def check_together(self, ranks: Ranks) -> None:
        """Check what only all ranks together can check.

        Raises:
            UsageError: on all of them.
        """
        ...


Prepared = TypeVar("Prepared", bound=PreparedRun)


Prepare = Callable[[Config, "Ranks | None"], Prepared]
"""Checks and builds all that can be before the run; raises UsageError for what cannot work."""

Run = Callable[[Prepared, DictConfig, Path], int]
"""Does the work of a prepared run, with its composed config, in a folder; returns the status."""

Load = Callable[[], tuple[Prepare[Prepared], Run[Prepared]]]
"""Imports what prepares and runs: it takes seconds, so not before the settings are checked."""


def run_hydra(
    arguments: Sequence[str], prepared: Prepared | None, load: Load[Prepared], lock: RunLock
) -> int:
    """Run under Hydra.

    Args:
        arguments: flags and overrides.
        prepared: the run; None for a sweep, which is prepared run by run, or where nothing is run.
        load: imports the program.
        lock: of the run's folder; of a sweep, each run has its own.

    Returns:
        The exit status: 2 for a usage error.
    """
    is_sweep = "--multirun" in arguments
    status = 0
    is_in_task = False
    broken: RankError | OSError | None = None

    def task(composed: DictConfig) -> None:
        nonlocal status, is_in_task, broken
        is_in_task = True
        try:
            folder = Path(HydraConfig.get().runtime.output_dir)
            with RunLock() if is_sweep else nullcontext(lock) as held:
                # Paths are relative to where the command was given, even if Hydra has left it.
                with chdir(HydraConfig.get().runtime.cwd):
                    take_folder(held, as_given(folder))
                    config = read_config(composed)
                    check_free(as_given(folder), config.ckpt_path, sweep=is_sweep)
                    prepare, run = load()
                    ready = prepared or prepare(with_last(config, as_given(folder)), None)
                ended = run(ready, composed, folder)
        except UsageError as error:
            ended = fail(error, USAGE_ERROR)
        except FolderInUseError as error:
            ended = fail(error, error.status)
        except (RankError, OSError) as error:
            if isinstance(error, OSError) and not is_of_the_disk(error):
                raise
            # Raised again outside of the task: Hydra would first print the overrides.
            broken, ended = error, 1
        status = max(status, ended)
        is_in_task = False

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    sys.argv[1:] = for_hydra(arguments)
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=CONFIG_NAME)(task)()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        # First, because to Hydra a missing config is an OSError, too.
        if is_in_task:
            raise
        return fail(_fault_of_hydra(error, arguments), USAGE_ERROR)
    except BrokenPipeError:
        if is_in_task:
            raise
        # Whoever read a help text has had enough; Python would complain when it flushes the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if is_in_task:
            raise
        # Outside of the task, Hydra creates the folder of the run and writes into it.
        setting = "hydra.sweep.dir" if is_sweep else "hydra.run.dir"
        return fail(
            f"{setting} gives no folder that can be written to ({error.strerror}:"
            f" {error.filename}); choose another.",
            USAGE_ERROR,
        )
    if broken is not None:
        raise broken
    return status


def as_given(folder: Path) -> Path:
    """Return a folder relative to the current one, if it is inside it."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _fault_of_hydra(error: Exception, arguments: Sequence[str]) -> str:
    """Tell what is wrong with the settings of Hydra, which it reads when it begins."""
    key = str(getattr(error, "full_key", None) or "hydra")
    given = next((text for text in arguments if text.startswith(f"{key}=")), key)
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return f"{given} cannot work: {reason}; choose another value."
