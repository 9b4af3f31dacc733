"""The heavy half of `plan`: makes the plan that a run would have, and prints it."""

from __future__ import annotations

from rich.console import Console

from gru_parallel.assembly.data import build_data
from gru_parallel.assembly.length import run_length
from gru_parallel.assembly.planned import build_plan
from gru_parallel.config.check_training import has_schedule, needs_lightning
from gru_parallel.config.schema import Config
from gru_parallel.data.series_outline import SeriesOutline
from gru_parallel.report import plan_table


def show(config: Config) -> int:
    """Make the plan, whose devices need not exist here, and print it; return the exit status.

    Raises:
        UsageError: a setting or the data cannot work.
    """
    if needs_lightning(config):
        # It takes two seconds, and most plans ask nothing that it alone can answer.
        from gru_parallel.assembly.trainer import check_trainer, quieten_lightning

        quieten_lightning()
        check_trainer(config)
    data = build_data(config, SeriesOutline)
    length = run_length(config, data)
    if config.ckpt_path is None and has_schedule(config.lr_scheduler):
        # Else the rates depend on how far the checkpoint is, which is opened in training only.
        # A schedule is torch's, or made of torch's.
        from gru_parallel.assembly.optimizer import check_rates

        check_rates(config, length)
    planned = build_plan(config, data.n_channels, data.n_targets, check_exists=False)
    Console().print(plan_table(planned))
    return 0
