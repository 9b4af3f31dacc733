"""Forecasts of a finished run's model, from the end of each series or from cutoffs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
from torch import Tensor

from gru_parallel.assembly.data import read_tables, series_file, series_label
from gru_parallel.assembly.finished_run import FinishedRun, open_run
from gru_parallel.assembly.reuse import Reuse, reuse
from gru_parallel.assembly.trainer import build_evaluator, quieten_lightning
from gru_parallel.config.data_section import CsvConfig, DataConfig, OwnDataConfig
from gru_parallel.config.schema import Config
from gru_parallel.data.blocks import Block, read_blocks
from gru_parallel.data.fingerprint import fingerprint_of_windows
from gru_parallel.data.forecast import quantile_column
from gru_parallel.data.forecast_module import ForecastDataModule
from gru_parallel.data.forecast_panel import (
    ForecastPanel,
    interval_of,
    n_past_rows,
    share_of,
    windows_to_draw,
)
from gru_parallel.data.forecast_window import ForecastDataset, ForecastWindow
from gru_parallel.data.gaps import filled_words
from gru_parallel.data.tails import Tails
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.engine.tf32 import tf32
from gru_parallel.errors import UsageError, of_setting
from gru_parallel.own_names import head_task
from gru_parallel.ranks import Ranks, check_alike
from gru_parallel.rules import one_per_block

Take = Callable[[pd.DataFrame], None]
"""Takes the forecasts of a batch."""


@dataclass(frozen=True)
class Forecasting:
    """Forecasts that have passed all checks and are not made yet.

    Attributes:
        using: the weights that they are made with.
        windows: that they are made from, in their order.
        has_cutoffs: whether cutoffs were given, so that what came may be known.
        n_series: number of series that there are.
    """

    using: Reuse
    windows: Sequence[ForecastWindow]
    has_cutoffs: bool
    n_series: int

    @property
    def n_rows(self) -> int:
        """Number of forecast values."""
        return sum(window.known.size for window in self.windows)

    @property
    def title(self) -> str:
        """Of a picture of these forecasts."""
        return (
            "Forecasts from cutoffs"
            if self.has_cutoffs
            else "Forecasts from the end of each series"
        )

    @property
    def words(self) -> str:
        """What a person should know about these forecasts; may be empty."""
        n_channels = len(self.using.run.record.columns) - len(self.using.run.record.future)
        n_filled = sum(window.n_filled for window in self.windows)
        n_values = n_channels * sum(len(window.values) for window in self.windows)
        lines = [filled_words(n_filled, n_values, "the windows to forecast from")]
        if "carry" in one_per_block(self.using.config.model.h_0):
            lines.append(
                "With model.h_0=carry each forecast starts from states of zeros, as a stream does."
            )
        return "\n".join(filter(None, lines))

    def check_together(self, ranks: Ranks) -> None:
        """Check what only all ranks together can check.

        Raises:
            UsageError: on all of them, if they have other plans or data, or share a GPU.
        """
        self.using.check_together(ranks)
        check_alike(ranks, {"data": fingerprint_of_windows(self.windows)})

    def run(self, take: Take, *, shows_progress: bool = False) -> list[ForecastPanel]:
        """Make all forecasts; all ranks call this together.

        Args:
            take: gets the forecasts of each batch, in order, on the first rank alone; see
                `forecast` for the columns.
            shows_progress: whether there is a progress bar.

        Returns:
            Some of the forecasts to be drawn, on the first rank alone.
        """
        using, config = self.using, self.using.config
        columns = _target_columns(using.run)
        windows = ForecastDataset(
            self.windows,
            columns,
            _shape(config),
            using.run.standardizer,
            centre=config.data.centre,
            calendar=using.run.record.calendar,
            batch_size=config.data.batch_size,
            share=using.share,
        )
        data = ForecastDataModule(windows, using.run.standardizer, columns, config.data.batch_size)
        collector = _Collector(self, take)
        trainer = build_evaluator(
            config,
            using.plan,
            [collector],
            share=using.share,
            ranks=using.ranks,
            shows_progress=shows_progress,
        )
        with tf32(config.engine.tf32):
            trainer.predict(using.module, datamodule=data, return_predictions=False)
        return collector.panels


class _Collector(pl.Callback):
    """Hands on the forecasts of each batch as they are made, and keeps those to be drawn.

    Attributes:
        panels: what is to be drawn.
    """

    def __init__(self, forecasting: Forecasting, take: Take) -> None:
        self.panels: list[ForecastPanel] = []
        self._forecasting = forecasting
        self._take = take
        n_targets = len(forecasting.using.run.record.targets)
        self._drawn = windows_to_draw(len(forecasting.windows), n_targets)

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Hand on those of the batch, which are complete on every rank."""
        if not trainer.is_global_zero:
            return
        config = self._forecasting.using.config
        first = batch_idx * config.data.batch_size
        windows = self._forecasting.windows[first : first + config.data.batch_size]
        forecasts = outputs.detach().cpu()
        if head_task(config.model.head) == "every_step":
            forecasts = _last_steps(forecasts, windows)
        targets = self._forecasting.using.run.record.targets
        has_cutoffs = self._forecasting.has_cutoffs
        self._take(_frame(windows, forecasts, targets, config.quantiles, has_cutoffs))
        self.panels += [
            self._panel(windows[window - first], forecasts[window - first], target)
            for window, target in self._drawn
            if first <= window < first + len(windows)
        ]

    def _panel(self, window: ForecastWindow, forecast: Tensor, target: int) -> ForecastPanel:
        using = self._forecasting.using
        n_past, levels = n_past_rows(using.config.data.horizon), using.config.quantiles
        of_target = forecast[:, target].numpy()
        numbers = of_target.T if levels else of_target[None]
        return ForecastPanel(
            series=window.series if self._forecasting.n_series > 1 else "",
            target=using.run.record.targets[target],
            past_times=window.past_times[-n_past:],
            past=window.values[-n_past:, _target_columns(using.run)[target]],
            times=window.times,
            came=window.known[:, target],
            forecast=numbers[0],
            interval=interval_of(numbers, levels),
            share=share_of(levels),
        )


def forecast(
    run: FinishedRun | str | Path,
    overrides: Sequence[str] = (),
    *,
    cutoffs: Sequence[Any] = (),
    checkpoint: str = "best",
) -> pd.DataFrame:
    """Forecast from the end of each series, or from cutoffs, with the model of a finished run.

    Args:
        run: its folder or one of its checkpoints, or what `open_run` returned.
        overrides: of its settings, as on the command line: ["data.path=new.csv"].
        cutoffs: the last moments that are known to the forecasts, such as "2016-07-01"; the last
            row at or before each counts.
        checkpoint: "best" or "last".

    Returns:
        A row for each forecast value, with the columns `unique_id` (name of the series), `ds` (the
        time that is forecast), `cutoff` (the time of the last row that was known), `target` where
        there are several, `y_hat` (the forecast, in the units of the series), `y_hat_0.1`, ...
        (quantiles, where the model has any) and, with cutoffs, `y` (what came; NaN where that is
        not known).

    Raises:
        UsageError: run, settings or data cannot work.
    """
    opened = (
        run if isinstance(run, FinishedRun) else open_run(run, overrides, checkpoint=checkpoint)
    )
    frames: list[pd.DataFrame] = []
    prepare_forecasts(opened, cutoffs).run(frames.append)
    return pd.concat(frames, ignore_index=True)


def prepare_forecasts(
    run: FinishedRun,
    cutoffs: Sequence[Any] = (),
    ranks: Ranks | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> Forecasting:
    """Read the series, piece by piece, and load the model.

    Args:
        run: whose model forecasts.
        cutoffs: see `forecast`.
        ranks: if this process is one of many; nothing here waits for other ranks.
        on_rows: is told the number of rows read so far; None for nobody.

    Raises:
        UsageError: settings or data cannot work.
    """
    quieten_lightning()
    run = _without_limits(run)
    data = run.config.data
    path = Path(data.path) if isinstance(data, CsvConfig) else Path(data.name)
    tails = Tails(
        _shape(run.config),
        _target_columns(run),
        run.record.training_mean,
        columns=run.record.columns,
        cutoffs=cutoffs,
        path=path,
        label=series_label(data),
        frequency=data.frequency if isinstance(data, CsvConfig) else None,
        missing=data.missing if isinstance(data, CsvConfig) else "error",
        future=run.record.future,
        calendar=run.record.calendar,
        static=run.record.static,
    )
    with of_setting(f"data.path={path}", _source(data)):
        for block in _blocks(run, on_rows):
            tails.add(block)
        windows = tails.windows()
    return Forecasting(reuse(run, ranks), windows, len(cutoffs) > 0, tails.n_series)


def _source(data: DataConfig) -> str:
    """Return the setting that says where the series come from, as a message names it."""
    if isinstance(data, CsvConfig):
        return f"data.path={data.path}"
    return f"data.source={data.source}" if isinstance(data, OwnDataConfig) else f"data={data.name}"


def _without_limits(run: FinishedRun) -> FinishedRun:
    """Forecast from every window, whatever the run was limited to."""
    if run.gives("trainer.limit_predict_batches", "trainer.fast_dev_run"):
        return run
    trainer = replace(run.config.trainer, limit_predict_batches=None, fast_dev_run=False)
    return replace(run, config=replace(run.config, trainer=trainer))


def _blocks(run: FinishedRun, on_rows: Callable[[int], None] | None) -> Iterator[Block]:
    data = run.config.data
    if isinstance(data, CsvConfig):
        # It names the columns and the targets of the run.
        yield from read_blocks(series_file(data, run.columns_of), on_rows=on_rows)
        return
    for table in read_tables(run.config):
        if table.columns != tuple(run.record.columns):
            raise UsageError(
                f"data={data.name} has the columns {', '.join(table.columns)}, and the model of the"
                f" run takes {', '.join(run.record.columns)}; give those, in this order."
            )
        rows = np.arange(table.n_rows)
        yield Block(table.name, rows, table.times, table.values, static=table.static)


def _shape(config: Config) -> WindowShape:
    data = config.data
    task = head_task(config.model.head)
    return WindowShape(data.input_length, data.horizon, task, data.min_input_length)


def _target_columns(run: FinishedRun) -> list[int]:
    return [run.record.columns.index(target) for target in run.record.targets]


def _last_steps(forecasts: Tensor, windows: Sequence[ForecastWindow]) -> Tensor:
    """Take the forecast of each window's last step, shape `(windows, 1, targets)`."""
    rows = range(len(windows))
    last = [len(window.values) - 1 for window in windows]
    return forecasts[rows, last].unsqueeze(1)


def _frame(
    windows: Sequence[ForecastWindow],
    forecasts: Tensor,
    targets: Sequence[str],
    levels: Sequence[float],
    has_cutoffs: bool,
) -> pd.DataFrame:
    """Write the forecasts of some windows in the long form: by window, step and target."""
    n_windows, n_steps, n_targets = forecasts.shape[:3]
    each = n_steps * n_targets
    columns: dict[str, Any] = {
        "unique_id": np.repeat(np.array([window.series for window in windows], object), each),
        "ds": np.repeat(np.stack([window.times for window in windows]).reshape(-1), n_targets),
        "cutoff": np.repeat(np.array([window.cutoff for window in windows]), each),
    }
    if n_targets > 1:
        columns["target"] = np.tile(np.array(targets, object), n_windows * n_steps)
    numbers = forecasts.reshape(n_windows * each, -1).unbind(-1)
    names = ["y_hat", *map(quantile_column, levels)]
    columns |= {name: number.numpy() for name, number in zip(names, numbers, strict=True)}
    if has_cutoffs:
        columns["y"] = np.stack([window.known for window in windows]).reshape(-1)
    return pd.DataFrame(columns)
