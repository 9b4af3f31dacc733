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
from gru_parallel.app.launcher import check_launch
from gru_parallel.app.outcome import LAST_OF_A_PROGRAM, USAGE_ERROR, fail, is_of_the_disk
from gru_parallel.app.run_folder import check_free
from gru_parallel.app.run_lock import FolderInUseError, RunLock, take_folder
from gru_parallel.app.sweep import StopSweep, Sweep
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
    arguments: Sequence[str],
    prepared: Prepared | None,
    load: Load[Prepared],
    lock: RunLock | None,
    sweep: Sweep | None = None,
) -> int:
    """Run under Hydra.

    Args:
        arguments: flags and overrides.
        prepared: the run; None for a sweep, which is prepared run by run, or where nothing is run.
        load: imports the program.
        lock: of the run's folder; None for one of its own, as each run of a sweep has.
        sweep: shows its runs; None for one run.

    Returns:
        The exit status: 2 for a usage error.
    """
    status = 0
    n_open = 0
    broken: RankError | OSError | None = None

    def task(composed: DictConfig) -> None:
        nonlocal status, n_open, broken
        n_open += 1
        try:
            hydra_config = HydraConfig.get()
            folder = Path(hydra_config.runtime.output_dir)
            with RunLock() if lock is None else nullcontext(lock) as held:
                # Paths are relative to where the command was given, even if Hydra has left it.
                with chdir(hydra_config.runtime.cwd):
                    if sweep is not None:
                        sweep.begin(as_given(folder), Path(hydra_config.sweep.dir))
                    take_folder(held, as_given(folder))
                    config = read_config(composed)
                    check_free(as_given(folder), config.ckpt_path, sweep=sweep is not None)
                    if prepared is None:
                        check_launch(config.engine, None)
                    prepare, run = load()
                    ready = prepared or prepare(with_last(config, as_given(folder)), None)
                ended = run(ready, composed, folder)
        except Exception as error:
            if sweep is not None:
                sweep.note(error)
            if isinstance(error, UsageError):
                ended = fail(error, USAGE_ERROR)
            elif isinstance(error, FolderInUseError):
                ended = fail(error, error.status)
            elif isinstance(error, RankError) or (
                isinstance(error, OSError) and is_of_the_disk(error)
            ):
                # Raised again outside of the task: Hydra would first print the overrides.
                broken, ended = error, 1
            else:
                raise
        status = max(status, ended)
        n_open -= 1
        if sweep is not None and (broken is not None or ended > LAST_OF_A_PROGRAM):
            # Whoever stops a run, or a full disk, stops those after it, too.
            raise StopSweep

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    sys.argv[1:] = for_hydra(arguments)
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=CONFIG_NAME)(task)()
    except StopSweep:
        pass
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        # First, because to Hydra a missing config is an OSError, too.
        if n_open:
            raise
        return fail(_fault_of_hydra(error, arguments), USAGE_ERROR)
    except BrokenPipeError:
        if n_open:
            raise
        # Whoever read a help text has had enough; Python would complain when it flushes the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if n_open:
            raise
        # Outside of the task, Hydra creates the folder of the run and writes into it.
        setting = "hydra.run.dir" if sweep is None else "hydra.sweep.dir"
        return fail(
            f"{setting} gives no folder that can be written to ({error.strerror}:"
            f" {error.filename}); choose another.",
            USAGE_ERROR,
        )
    finally:
        if sweep is not None:
            status = max(status, sweep.show())
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
