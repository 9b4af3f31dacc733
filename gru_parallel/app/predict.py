"""The heavy half of `predict`: forecasts with the model of a finished run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from gru_parallel.app.console import is_live, say
from gru_parallel.app.output import check_writable, writing
from gru_parallel.app.predict_settings import PredictSettings
from gru_parallel.assembly.finished_run import FinishedRun, open_run
from gru_parallel.assembly.forecast import Forecasting, prepare_forecasts
from gru_parallel.choices import hint
from gru_parallel.config.data_section import CsvConfig
from gru_parallel.data.forecast import quantile_column
from gru_parallel.data.forecast_window import ForecastWindow
from gru_parallel.errors import UsageError
from gru_parallel.ranks import Ranks
from gru_parallel.report.forecast_picture import draw_forecasts
from gru_parallel.report.predictions_file import COLUMNS, KINDS, open_predictions


@dataclass(frozen=True)
class Prepared:
    """Forecasts that have passed all checks and are not made yet.

    Attributes:
        forecasting: what is to be done.
        output: the file to write.
        names: of its columns, by their names by default.
    """

    forecasting: Forecasting
    output: Path
    names: Mapping[str, str]

    @property
    def picture(self) -> Path:
        """The picture of some of the forecasts."""
        return _picture_beside(self.output)

    def check_together(self, ranks: Ranks) -> None:
        """Check what only all ranks together can check; see `Forecasting`."""
        self.forecasting.check_together(ranks)


def prepare(
    settings: PredictSettings, overrides: Sequence[str], ranks: Ranks | None = None
) -> Prepared:
    """Read the series, and load the model.

    Args:
        settings: of the command.
        overrides: of the run's settings.
        ranks: if this process is one of many; nothing here waits for other ranks.

    Raises:
        UsageError: a setting or the data cannot work.
    """
    names = settings.names or {}
    run = open_run(settings.run, overrides, checkpoint=settings.checkpoint)
    _check_names(names, (*COLUMNS, *map(quantile_column, run.config.quantiles)))
    output = run.folder.path / "predictions" / "forecasts.csv"
    if settings.output is not None:
        output = Path(settings.output).expanduser()
    _check_output(output, run)
    check_writable(output.parent, ranks)
    console = Console(quiet=ranks is not None and not ranks.is_first)
    with _reading(console) as on_rows:
        forecasting = prepare_forecasts(run, settings.moments, ranks, on_rows)
    return Prepared(forecasting, output, names)


def run(prepared: Prepared) -> int:
    """Forecast, write the forecasts, say what they are, and return the exit status.

    Raises:
        UsageError: the file cannot be written.
    """
    forecasting, output = prepared.forecasting, prepared.output
    using = forecasting.using
    console = Console(quiet=not using.is_first)
    say(console, using.run.words)
    say(console, forecasting.words)
    shows_progress = is_live(console) and using.config.trainer.enable_progress_bar
    opened = (
        open_predictions(output, prepared.names, _date_format(forecasting.windows))
        if using.is_first
        # The first rank writes for all.
        else nullcontext(lambda _: None)
    )
    with writing(output):
        with opened as take:
            panels = forecasting.run(take, shows_progress=shows_progress)
        draw_forecasts(panels, forecasting.title, prepared.picture)
    console.print(_table(forecasting))
    say(console, f"Written to {output}, and a picture of some to {prepared.picture}")
    return 0


def _table(forecasting: Forecasting) -> Table:
    """Show how much was forecast from how much."""
    windows = forecasting.windows
    table = Table(box=box.SIMPLE_HEAD)
    numbers = {
        "series": forecasting.n_series,
        "of them forecast": len({window.series for window in windows}),
        "cutoffs": len(windows),
        "forecast values": forecasting.n_rows,
    }
    for name in numbers:
        table.add_column(name, justify="right")
    table.add_row(*(f"{number:,}" for number in numbers.values()))
    return table


def _check_names(names: Mapping[str, str], columns: Sequence[str]) -> None:
    for name in names:
        if name not in columns:
            raise UsageError(f"names={{{name}: ...}} is not a column; {hint(name, columns)}")
    called = [names.get(name, name) for name in columns]
    twice = next((name for name in called if called.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"names calls two columns {twice!r}; give each a name of its own.")


def _check_output(output: Path, run: FinishedRun) -> None:
    if output.suffix.lower() not in KINDS:
        raise UsageError(f"output={output} is of no known kind; end it in .csv or .parquet.")
    if output.is_dir():
        raise UsageError(f"output={output} is a folder; name the file in it.")
    folder = run.folder
    own = [folder.metrics, folder.forecasts, folder.forecast_picture, folder.timeline]
    data = run.config.data
    if isinstance(data, CsvConfig):
        own += [Path(path) for path in (data.path, data.validation_path) if path is not None]
    for path in (output, _picture_beside(output)):
        if path.resolve() in [each.resolve() for each in own]:
            raise UsageError(
                f"output={output} would overwrite {path}, a file of the run or its data; name"
                " another."
            )


def _picture_beside(output: Path) -> Path:
    return output.with_suffix(".png")


@contextmanager
def _reading(console: Console) -> Iterator[Any]:
    """Show how many rows have been read."""
    if not is_live(console):
        yield None
        return
    with console.status("Reading the series") as status:
        yield lambda n_rows: status.update(f"Reading the series: {n_rows:,} rows")


def _date_format(windows: Sequence[ForecastWindow]) -> str:
    """Write dates as days where all of them are."""
    times = np.concatenate([[*window.times, window.cutoff] for window in windows])
    if not np.issubdtype(times.dtype, np.datetime64):
        return ""
    if (times == times.astype("datetime64[D]")).all():
        return "%Y-%m-%d"
    is_whole = (times == times.astype("datetime64[s]")).all()
    return "%Y-%m-%d %H:%M:%S" if is_whole else "%Y-%m-%d %H:%M:%S.%f"
