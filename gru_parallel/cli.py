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

from gru_parallel.config import Config, conf_dir, read_config
from gru_parallel.errors import UsageError
from gru_parallel.overrides import CONFIG_NAME, compose_config

Prepared = TypeVar("Prepared")

USAGE_ERROR = 2
INTERRUPTED = 130


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
    arguments = sys.argv[1:]
    prepared: Prepared | None = None
    if not any(argument.startswith("-") for argument in arguments):
        try:
            prepared = prepare(read_config(compose_config(arguments)))
        except UsageError as error:
            return fail(error, USAGE_ERROR)

    status = 0

    def task(composed: DictConfig) -> None:
        nonlocal status
        try:
            ready = prepare(read_config(composed)) if prepared is None else prepared
        except UsageError as error:
            status = fail(error, USAGE_ERROR)
            return
        status = max(status, run(ready, composed, Path(HydraConfig.get().runtime.output_dir)))

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=CONFIG_NAME)(task)()
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
