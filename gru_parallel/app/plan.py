"""`python -m gru_parallel.plan`: prints the plan that a run would have, and trains nothing."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from gru_parallel.app.cli import run_in_place
from gru_parallel.assembly import (
    build_data,
    build_plan,
    check_rates,
    check_trainer,
    quieten_lightning,
    run_length,
)
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.planning import Planned
from gru_parallel.report import plan_table

HELP = """python -m gru_parallel.plan [setting=value ...]

Prints the plan that a run with these settings would have, and trains nothing. The devices that it
names need not exist here. `python -m gru_parallel.train --help` lists the settings."""


def prepare(overrides: Sequence[str]) -> Planned:
    """Make the plan; its devices need not exist here.

    Raises:
        UsageError: a setting or the data cannot work.
    """
    config = read_config(compose_config(overrides))
    quieten_lightning()
    check_trainer(config)
    data = build_data(config)
    length = run_length(config, data)
    if config.ckpt_path is None:
        # Else the rates depend on how far the checkpoint is, which is opened in training only.
        check_rates(config, length)
    return build_plan(config, data.n_channels, data.n_targets, check_exists=False)


def show(planned: Planned) -> int:
    """Print the plan; return the exit status."""
    Console().print(plan_table(planned))
    return 0


def main() -> int:
    """Run the command; return its exit status."""
    return run_in_place(HELP, prepare, show)
