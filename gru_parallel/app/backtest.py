"""The heavy half of `backtest`: forecasts from one origin after the other, and measures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from gru_parallel.app.backtest_settings import BacktestSettings
from gru_parallel.app.console import is_live, say
from gru_parallel.app.environment import environment
from gru_parallel.app.output import output_folder, writing
from gru_parallel.assembly.backtest_metrics import FitMetrics
from gru_parallel.assembly.data import series_label
from gru_parallel.assembly.finished_run import open_run
from gru_parallel.assembly.refit import refit_and_test
from gru_parallel.assembly.reuse import Reuse, reuse
from gru_parallel.assembly.rolling import BacktestData, plan_backtest
from gru_parallel.assembly.trainer import build_evaluator, quieten_lightning
from gru_parallel.choices import metric_names
from gru_parallel.config.data_section import CsvConfig
from gru_parallel.data import SeriesDataModule
from gru_parallel.data.backtest_errors import BacktestErrors
from gru_parallel.data.fingerprint import fingerprint
from gru_parallel.data.forecast import Forecast
from gru_parallel.data.forecast_panel import MOST_PANELS, ForecastPanel, panels_of
from gru_parallel.data.forecasts import (
    forecast_arrays,
    in_long_form,
    series_numbers,
    stacked,
    windows_of_batch,
)
from gru_parallel.data.naive_error import naive_error
from gru_parallel.engine.devices import accelerator_kind
from gru_parallel.engine.tf32 import tf32
from gru_parallel.errors import UsageError, counted
from gru_parallel.own_names import head_task
from gru_parallel.ranks import Ranks, check_alike
from gru_parallel.report import results_table
from gru_parallel.report.backtest_files import Backtest, write_backtest_errors
from gru_parallel.report.forecast_picture import draw_forecasts
from gru_parallel.report.forecasts_file import write_forecasts
from gru_parallel.training.forecast_record import ForecastRecord

_WINDOWS_AT_ONCE = 512


@dataclass(frozen=True)
class Prepared:
    """A backtest that has passed all checks and has not begun.

    Attributes:
        using: the run, with its weights.
        data: the series, and what is forecast of them.
        refits: whether models are trained.
        output: the folder to write into.
    """

    using: Reuse
    data: BacktestData
    refits: bool
    output: Path

    def check_together(self, ranks: Ranks) -> None:
        """Check what only all ranks together can check.

        Raises:
            UsageError: on all of them, if they have other plans or data, or share a GPU.
        """
        self.using.check_together(ranks)
        check_alike(ranks, {"data": fingerprint(self.data.tables)})


def prepare(
    settings: BacktestSettings, overrides: Sequence[str], ranks: Ranks | None = None
) -> Prepared:
    """Build and check all that a backtest needs.

    Args:
        settings: of the command.
        overrides: of the run's settings.
        ranks: if this process is one of many; nothing here waits for other ranks.

    Raises:
        UsageError: a setting or the data cannot work.
    """
    quieten_lightning()
    every = int(settings.refit)
    if every and ranks is not None:
        raise UsageError(
            f"refit={settings.refit} trains in one process; leave out engine=processes, and"
            " start it without torchrun."
        )
    run = open_run(settings.run, overrides, checkpoint=settings.checkpoint, trains=bool(every))
    output = output_folder(settings.output, run.folder.path / "backtest", ranks)
    # Origins, and not batches, say what is forecast.
    trainer = replace(run.config.trainer, limit_test_batches=None, fast_dev_run=False)
    using = reuse(replace(run, config=replace(run.config, trainer=trainer)), ranks)
    start = None if settings.start is None else str(settings.start)
    data = plan_backtest(using, settings.stride, start, settings.n_origins, every)
    prepared = Prepared(using, data, every > 0, output)
    # A later fit may have series and values that the first one has not.
    for number in range(len(data.fits)):
        _check_fit(prepared, number)
    return prepared


def run(prepared: Prepared) -> int:
    """Forecast, measure, print and write, and return the exit status.

    Raises:
        UsageError: the results cannot be written.
    """
    using = prepared.using
    console = Console(quiet=not using.is_first)
    if not prepared.refits:
        say(console, using.run.words)
    with tf32(using.config.engine.tf32), writing(prepared.output):
        return _Backtest(prepared, console).run()


def _data_of(prepared: Prepared, fit: int) -> SeriesDataModule:
    return prepared.data.of(
        prepared.data.fits[fit],
        prepared.using,
        refit=prepared.refits,
        pin_memory=accelerator_kind() is not None,
    )


def _check_fit(prepared: Prepared, number: int) -> None:
    """Check the data of one fit.

    Raises:
        UsageError: no model can be trained on it, or it cannot be forecast.
    """
    try:
        # It is made, and checked, when it is first asked for.
        _ = _data_of(prepared, number).standardizer
    except UsageError as error:
        if not prepared.refits:
            raise
        fits = prepared.data.fits
        cutoff, _ = prepared.data.first_and_last(fits[number]["test"])
        raise UsageError(
            f"{error} Fit {number + 1}/{len(fits)} is trained on the rows up to {cutoff}; if"
            " something is missing there, give a later start, or leave the series out."
        ) from error


class _Backtest:
    """A backtest that has begun.

    Args:
        prepared: its parts.
        console: to print on.
    """

    def __init__(self, prepared: Prepared, console: Console) -> None:
        self._prepared = prepared
        self._console = console
        self._data = prepared.data
        config, table = prepared.using.config, prepared.data.tables[0]
        self._seasons = {"repeat_last": 1}
        if config.data.season_length is not None:
            self._seasons["seasonal_naive"] = config.data.season_length
        is_window = head_task(config.model.head) == "window"
        steps = range(1, config.data.horizon + 1) if is_window else (config.data.horizon,)
        self._label = series_label(config.data)
        names = [each.name or self._label for each in prepared.data.tables]
        self._levels = config.quantiles
        metrics = metric_names(self._levels)
        self._errors = BacktestErrors(names, table.targets, steps, metrics)
        self._naive = np.full((len(names), len(table.targets)), np.nan)
        self._panels: list[ForecastPanel] = []

    def run(self) -> int:
        """Run all fits; return the exit status."""
        say(self._console, self._origins())
        forecasts, output = self._forecasts(), self._prepared.output
        if not self._prepared.using.is_first:
            # The first rank writes for all.
            deque(forecasts, maxlen=0)
            return 0
        write_forecasts(forecasts, output / "forecasts.csv")
        self._report(output)
        return 0

    def _forecasts(self) -> Iterator[Forecast]:
        """Run all fits, and yield what they forecast while it is measured."""
        n_fits = len(self._data.fits)
        for number in range(n_fits):
            data = _data_of(self._prepared, number)
            if not self._prepared.refits:
                say(self._console, data.words)
            self._measure_histories(data)
            predictions = self._predict(data, number)
            self._panels += panels_of(data, predictions, -(-MOST_PANELS // n_fits), self._levels)
            metrics = FitMetrics(data, self._scale, self._levels)
            for some in _pieces(predictions):
                predicted = stacked(data, some)
                arrays = forecast_arrays(data, predicted, self._levels)
                self._errors.add("model", arrays.series, metrics.of_model(predicted, arrays))
                for name, period in self._seasons.items():
                    naive = metrics.of_naive(predicted, arrays, period)
                    self._errors.add(name, arrays.series, naive)
                yield from in_long_form(data, arrays, self._label)

    def _predict(self, data: SeriesDataModule, number: int) -> dict[int, Tensor]:
        """Return the predictions of a fit by window, in ascending order."""
        using = self._prepared.using
        record = ForecastRecord(range(len(data.dataset("test"))), partial(windows_of_batch, data))
        shows_progress = is_live(self._console) and using.config.trainer.enable_progress_bar
        if self._prepared.refits:
            n_fits = len(self._data.fits)
            n_series = len(data.parts["training"])
            of = "" if len(data.tables) == 1 else f" of {n_series} series"
            cutoff, _ = self._data.first_and_last(data.parts["test"])
            say(self._console, f"Fit {number + 1}/{n_fits}: trains on the rows{of} up to {cutoff}")
            with TemporaryDirectory() as folder:
                refit_and_test(using, data, Path(folder), [record], shows_progress=shows_progress)
        else:
            trainer = build_evaluator(
                using.config,
                using.plan,
                [record],
                share=using.share,
                ranks=using.ranks,
                shows_progress=shows_progress,
            )
            trainer.test(using.module, data, verbose=False)
        return dict(sorted(record.predictions.items()))

    def _report(self, output: Path) -> None:
        using = self._prepared.using
        write_backtest_errors(self._errors.table(self._scale, self._naive), output / "backtest.csv")
        mean = self._errors.overall()
        first, last = self._data.first_and_last(self._data.rolled)
        source = using.config.data
        result = Backtest(
            run=str(using.run.folder.path),
            checkpoint=None if self._prepared.refits else str(using.run.checkpoint),
            data=source.path if isinstance(source, CsvConfig) else source.name,
            first_cutoff=first,
            last_cutoff=last,
            stride=self._data.stride,
            fits=len(self._data.fits) if self._prepared.refits else 0,
            test_metrics=mean.pop("model"),
            baselines=mean,
            by_step={
                method: {name: values.tolist() for name, values in errors.items()}
                for method, errors in self._errors.by_step().items()
            },
            test_windows=self._data.n_origins,
            environment=environment(using.plan.all_devices),
        )
        result.write(output / "backtest.json")
        # Last, as it is the largest: where it does not fit, the numbers are there.
        step = max(1, len(self._panels) // MOST_PANELS)
        panels = self._panels[::step][:MOST_PANELS]
        draw_forecasts(panels, "Forecasts of the backtest", output / "forecast.png")
        self._console.print(results_table(result, "Backtest"))
        say(self._console, f"Written to {output}")

    @property
    def _scale(self) -> NDArray[np.float64]:
        """Of each target in the run."""
        columns = list(self._data.tables[0].target_columns)
        return self._prepared.using.run.standardizer.scale[columns]

    def _measure_histories(self, data: SeriesDataModule) -> None:
        """Measure the naive forecast in the history of the series whose first origin a fit has."""
        first_ends = {part.series_start: part.ends[0] for part in self._data.rolled if part.ends}
        for part in data.parts["test"]:
            # Earlier fits have not filled the gaps up to there.
            if part.ends and part.ends[0] == first_ends[part.series_start]:
                history = torch.arange(part.series_start, part.ends[0])
                (number,) = series_numbers(self._data.tables, np.array([part.series_start]))
                self._naive[number] = naive_error(data.targets_at(history), data.season_length)

    def _origins(self) -> str:
        first, last = self._data.first_and_last(self._data.rolled)
        n_series = len(self._data.rolled)
        of = "" if n_series == 1 else f" of {n_series} series"
        return (
            f"Forecasts from {counted(self._data.n_origins, 'origin')}{of}, one every"
            f" {counted(self._data.stride, 'row')}, {first} to {last}"
        )


def _pieces(predictions: Mapping[int, Tensor]) -> Iterator[dict[int, Tensor]]:
    """Yield the predictions of some windows after the others."""
    items = iter(predictions.items())
    while some := dict(islice(items, _WINDOWS_AT_ONCE)):
        yield some
