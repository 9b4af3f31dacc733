"""What loggers get besides metrics: settings at the beginning of a run, its result at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from gru_parallel.errors import UsageError


def begin_logging(loggers: Sequence[Logger], settings: Mapping[str, Any]) -> None:
    """Log the settings of a run; the first entry makes a logger begin.

    Args:
        loggers: of the run.
        settings: nested, as plain values; loggers flatten what they have to.

    Raises:
        UsageError: one cannot begin, for instance because nobody has logged in.
    """
    for logger in loggers:
        try:
            if isinstance(logger, CSVLogger):
                _put_aside_rows(logger)
            if isinstance(logger, TensorBoardLogger):
                # Into its hparams.yaml; its page of hyperparameters gets them with the result.
                logger.log_hyperparams(dict(settings), metrics={})
            else:
                logger.log_hyperparams(dict(settings))
        except Exception as error:
            raise UsageError(
                f"logger: {type(logger).__name__} cannot begin ({_in_one_line(error)}); log in,"
                " have it write offline, or leave it out."
            ) from error


def end_logging(
    loggers: Sequence[Logger],
    settings: Mapping[str, Any],
    result: Mapping[str, float],
    step: int,
    *,
    has_failed: bool,
) -> list[str]:
    """Log the result of a run and close its loggers.

    Args:
        loggers: of the run.
        settings: as given to `begin_logging`.
        result: single numbers, by name.
        step: of the optimiser, at the end.
        has_failed: whether the run ended before its time.

    Returns:
        What went wrong, in sentences: no logger keeps a run from its end.
    """
    problems = []
    for logger in loggers:
        try:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(dict(settings), metrics=dict(result), step=step)
            else:
                logger.log_metrics(dict(result), step)
            logger.finalize("failed" if has_failed else "success")
            if isinstance(logger, WandbLogger):
                # Lightning leaves it open, and would log the next run of this process into it.
                logger.experiment.finish(exit_code=int(has_failed))
        except Exception as error:  # noqa: BLE001  # whatever packages, networks and disks raise
            problems.append(
                f"Warning: {type(logger).__name__} did not take the result ({_in_one_line(error)})."
            )
    return problems


@rank_zero_only
def _put_aside_rows(logger: CSVLogger) -> None:
    """Keep the rows of the run that is resumed in its folder, which Lightning would delete."""
    file = Path(logger.log_dir, ExperimentWriter.NAME_METRICS_FILE)
    if file.exists():
        names = (file.with_suffix(f".{number}{file.suffix}") for number in count(1))
        file.rename(next(name for name in names if not name.exists()))


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(":. ")
