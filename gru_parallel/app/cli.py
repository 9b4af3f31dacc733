"""From a command line to a run; checks that do not need torch come before it is imported."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from gru_parallel.app.command_line import read_command_line, refuse_flags, with_home
from gru_parallel.app.hydra_run import Load, Prepared, run_hydra
from gru_parallel.app.last_checkpoint import with_last
from gru_parallel.app.launcher import check_launch, check_no_sweep
from gru_parallel.app.outcome import USAGE_ERROR, data_warnings, fail, is_of_the_disk
from gru_parallel.app.run_folder import check_free, is_of_the_moment, named_folder
from gru_parallel.app.run_lock import FolderInUseError, RunLock, take_folder, wait_for_folder
from gru_parallel.app.sweep import Sweep
from gru_parallel.app.sweep_folders import check_sweep_free
from gru_parallel.config.overrides import (
    check_sweep,
    compose_config,
    setting_called,
    with_values_of_sweeper,
)
from gru_parallel.config.read_config import read_config
from gru_parallel.config.schema import ProcessesConfig
from gru_parallel.errors import DataWarning, UsageError
from gru_parallel.ranks.launch import Launch

Settings = TypeVar("Settings")

OF_A_RUN = "resume it with ckpt_path=last and its hydra.run.dir"
OF_A_SWEEP = "give the same command with ckpt_path=last and its hydra.sweep.dir"
OF_A_SEARCH = "give the same command with folder=, that of the search"
"""How a run, a sweep and a search go on after what has ended them."""


def run_under_hydra(arguments: Sequence[str], load: Load[Prepared]) -> int:
    """Run a program whose settings are the command line's overrides.

    A plain run is prepared before Hydra makes its folder, so bad input leaves nothing behind.

    Args:
        arguments: the command line without the program.
        load: imports the program.

    Returns:
        The exit status: 2 for a usage error.
    """

    def train() -> int:
        with RunLock() as lock:
            return _prepare_and_run(with_home(arguments), load, lock)

    return ended(train, OF_A_SWEEP if _is_sweep(arguments) else OF_A_RUN)


def _is_sweep(arguments: Sequence[str]) -> bool:
    try:
        return read_command_line(arguments).is_sweep
    except UsageError:
        return False


def ended(train: Callable[[], int], remedy: str) -> int:
    """Train, and say in a line if the disk, or another run, has ended it.

    Args:
        train: what is done; returns the exit status.
        remedy: how it goes on after a full disk.

    Returns:
        The exit status.
    """
    try:
        with data_warnings():
            return train()
    except FolderInUseError as error:
        return fail(error, error.status)
    except OSError as error:
        if not is_of_the_disk(error):
            raise
        where = f" {error.filename}" if error.filename else ""
        return fail(
            f"The run cannot write{where} ({os.strerror(error.errno or 0)}); make room or give"
            f" access, and {remedy}.",
            1,
        )


def _prepare_and_run(arguments: list[str], load: Load[Prepared], lock: RunLock) -> int:
    prepared: Prepared | None = None
    launch = None
    sweep: Sweep | None = None
    try:
        launch = Launch.from_environment()
        line = read_command_line(arguments)
        if not line.runs:
            # A shell asks for completions while a setting is being typed.
            if line.overrides and "--shell-completion" not in line.flags:
                compose_config(line.overrides)
        elif line.is_sweep:
            check_no_sweep(launch)
            check_sweep(line.overrides)
            named_folder(line.overrides, sweep=True)
            overrides, counts = with_values_of_sweeper(line.overrides)
            sweep = Sweep(check_sweep(overrides), counts=counts)
            check_sweep_free(overrides, counts=counts)
        else:
            config = read_config(compose_config(line.overrides))
            check_launch(config.engine, launch)
            if launch is not None and launch.local_rank > 0:
                # The first rank of each machine prints it for all.
                warnings.simplefilter("ignore", DataWarning)
            folder = named_folder(line.overrides)
            if launch is not None and isinstance(config.engine, ProcessesConfig):
                # It imports torch, which a run in one process does not need until it is prepared.
                from gru_parallel.app.together import run_as_rank, train_together

                train_here = partial(train_together, list(line.overrides), load, lock)
                return run_as_rank(launch, config.engine, train_here)
            if folder is not None:
                wait_for_folder(lock, folder)
                check_free(folder, config.ckpt_path)
            config = with_last(config, folder)
            prepare, _ = load()
            prepared = prepare(config, None)
            if folder is not None and not is_of_the_moment(line.overrides):
                # Before Hydra writes there; another run may have begun meanwhile.
                take_folder(lock, folder)
                check_free(folder, config.ckpt_path)
    except UsageError as error:
        # All ranks of a machine have the same command line, and one reports what is wrong with it.
        is_quiet = launch is not None and launch.local_rank > 0
        return USAGE_ERROR if is_quiet else fail(error, USAGE_ERROR)
    own = lock if sweep is None else None
    return run_hydra(line.arguments, prepared, load, own, sweep)


def run_in_place(
    arguments: Sequence[str],
    help_text: str,
    read: Callable[[Sequence[str]], Settings],
    show: Callable[[Settings], int],
    find: Callable[[str], str | None] = setting_called,
) -> int:
    """Run a program that is no run of Hydra's, which makes no folder for it.

    Args:
        arguments: the command line without the program.
        help_text: what --help prints.
        read: reads the overrides; raises UsageError for what cannot work.
        show: checks what only torch or Lightning knows, works out, prints and writes; returns the
            exit status.
        find: from a name to the full name of the setting that may be meant.

    Returns:
        The exit status: 2 for a usage error.
    """
    overrides = with_home(arguments)
    if {"-h", "--help"} & set(overrides):
        print(help_text)
        return 0
    try:
        refuse_flags(overrides, find)
        with data_warnings():
            return show(read(overrides))
    except UsageError as error:
        return fail(error, USAGE_ERROR)
