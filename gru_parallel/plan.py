"""`python -m gru_parallel.plan`: prints the plan that a run would have, and trains nothing."""

from __future__ import annotations

import sys

from rich.console import Console

from gru_parallel.build import Planned, build_data, build_plan
from gru_parallel.cli import run_in_place
from gru_parallel.config import Config
from gru_parallel.report import plan_table

HELP = """python -m gru_parallel.plan [setting=value ...]

Prints the plan that a run with these settings would have, and trains nothing. The devices that it
names need not exist here. `python -m gru_parallel.train --help` lists the settings."""


def prepare(config: Config) -> Planned:
    """Make the plan; its devices need not exist here.

    Raises:
        UsageError: a setting or the data cannot work.
    """
    data = build_data(config)
    return build_plan(config, data.n_channels, data.n_targets, check_exists=False)


def show(planned: Planned) -> None:
    """Print the plan."""
    Console().print(plan_table(planned.plan, planned.block_costs, planned.cluster))


if __name__ == "__main__":
    sys.exit(run_in_place(HELP, prepare, show))
