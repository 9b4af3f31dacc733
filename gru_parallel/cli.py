"""What the entry points share: command line to checked config, errors to exit statuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from gru_parallel.config import Config, conf_dir
from gru_parallel.errors import UsageError
from gru_parallel.overrides import CONFIG_NAME, check_sweep, compose_config
from gru_parallel.read_config import read_config

Prepared = TypeVar("Prepared")

USAGE_ERROR = 2
INTERRUPTED = 130

_SWEEP = {"-m", "--multirun"}


def fail(message: object, status: int) -> int:
    """Print a message as an error and return the exit status."""
    print(f"gru_parallel: {message}", file=sys.stderr)
    return status


def run_under_hydra(
    prepare: Callable[[Config], Prepared], run: Callable[[Prepared, DictConfig, Path], int]
) -> int:
    """Run a program whose settings are the command line's overrides.

    A plain run is prepared before Hydra makes its folder, so bad input leaves nothing behind.

    Args:
        prepare: checks and builds all that can be, and raises UsageError for what cannot work.
        run: does the work, in the folder that it is given; returns the exit status.

    Returns:
        The exit status: 2 for a usage error.
    """
    try:
        return _prepare_and_run(sys.argv[1:], prepare, run)
    except KeyboardInterrupt:
        return fail("Stopped by Ctrl-C.", INTERRUPTED)


def _prepare_and_run(
    arguments: list[str],
    prepare: Callable[[Config], Prepared],
    run: Callable[[Prepared, DictConfig, Path], int],
) -> int:
    flags = {argument for argument in arguments if argument.startswith("-")}
    prepared: Prepared | None = None
    try:
        if not flags:
            prepared = prepare(read_config(compose_config(arguments)))
        elif flags <= _SWEEP:
            check_sweep([argument for argument in arguments if argument not in flags])
    except UsageError as error:
        return fail(error, USAGE_ERROR)

    status = 0
    is_in_task = False

    def task(composed: DictConfig) -> None:
        nonlocal status, is_in_task
        is_in_task = True
        try:
            ready = prepare(read_config(composed)) if prepared is None else prepared
            ended = run(ready, composed, Path(HydraConfig.get().runtime.output_dir))
        except UsageError as error:
            ended = fail(error, USAGE_ERROR)
        status = max(status, ended)
        is_in_task = False

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=CONFIG_NAME)(task)()
    except OSError as error:
        if is_in_task:
            raise
        # Outside of the task, Hydra makes the folder of the run and writes into it.
        setting = "hydra.sweep.dir" if flags & _SWEEP else "hydra.run.dir"
        return fail(
            f"{setting} gives no folder that can be written to ({error.strerror}:"
            f" {error.filename}); choose another.",
            USAGE_ERROR,
        )
    return status


def run_in_place(
    help_text: str,
    prepare: Callable[[Sequence[str]], Prepared],
    show: Callable[[Prepared], int],
) -> int:
    """Run a program that only prints: no folder is made, and nothing is written.

    Args:
        help_text: what --help prints.
        prepare: reads the overrides, checks and builds what is to be shown, and raises UsageError
            for what cannot work.
        show: prints it; returns the exit status.

    Returns:
        The exit status: 2 for a usage error.
    """
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(help_text)
        return 0
    try:
        return show(prepare(arguments))
    except UsageError as error:
        return fail(error, USAGE_ERROR)


def write_resolved(composed: DictConfig, path: Path) -> None:
    """Write the config with every reference replaced by its value."""
    path.write_text(OmegaConf.to_yaml(composed, resolve=True), encoding="utf-8")
