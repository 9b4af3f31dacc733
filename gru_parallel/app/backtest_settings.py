"""The settings of `backtest`, and what --help prints about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from gru_parallel.app.use_line import OVERRIDES_HELP, RUN_HELP, UseSettings
from gru_parallel.rules import Count, Rule

BACKTEST_HELP = f"""gru-parallel backtest run=DIR [setting=value ...]

Forecasts from one origin after the other, as if each were the present, over the test part of a run,
or over all of another file (data.path=FILE). Writes forecasts.csv, every forecast with its cutoff;
backtest.csv, all that a test measures, what intervals hold included, by series, target and step
beside the baselines; backtest.json, the same over all origins and by step; and forecast.png.

{RUN_HELP}
output=DIR          folder to write into; null: backtest/ in the folder of the run
stride=24           rows from one origin to the next; null: data.horizon: each row is forecast once
start=2018-01-01    first origin (the last row that a forecast knows): a date, or where there are
                    none a number or a row; null: the first that the test part has
n_origins=10        in each series: from start on, or without start the last ones; null: all
refit=false         true: at each origin a new model is trained on all rows before it, from scratch,
                    with the settings of the run; 10: at every tenth

{OVERRIDES_HELP}
With refit, those of training count, too: trainer.max_epochs, optimizer.lr ..."""


@dataclass(frozen=True)
class BacktestSettings(UseSettings):
    """The settings of `python -m gru_parallel.backtest`.

    Attributes:
        output: the folder to write into; None for backtest/ in the folder of the run.
        stride: rows from one origin to the next; None for the horizon.
        start: the first origin: a date, a number or a row; None for the first of the test part.
        n_origins: in each series; None for all.
        refit: whether a model is trained at each origin, or at every so many.
    """

    output: str | None = None
    stride: Count | None = None
    start: Any = None
    n_origins: Count | None = None
    refit: Annotated[
        int | bool, Rule("is out of range; use true, or a number of origins.", lambda v: v >= 0)
    ] = False
