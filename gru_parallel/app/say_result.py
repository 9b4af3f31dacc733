"""Prints what a run came to."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from gru_parallel.app.console import say
from gru_parallel.config.schema import Config
from gru_parallel.report import Summary, outcome_table, results_table


def say_result(
    console: Console,
    summary: Summary,
    config: Config,
    best: tuple[float, int] | None,
    folder: Path,
) -> None:
    """Print the result of a run that has come to its end.

    Args:
        console: to print on.
        summary: of the run.
        config: its settings.
        best: the lowest `val/loss`, and its epoch; None without a validation.
        folder: of the run.
    """
    if best is not None:
        loss, epoch = best
        words = f"Best epoch: {epoch}, val/loss {loss:.4g}"
        if summary.best_checkpoint is None and loss != summary.validation_loss:
            words += (
                "; no checkpoint has kept its weights, so the last ones count, val/loss"
                f" {summary.validation_loss:.4g}"
            )
        say(console, words)
    if config.no_validation is not None:
        say(console, f"No validation: {config.no_validation}; the last epoch counts as the best")
    if summary.test_metrics is None:
        say(console, f"No test: {config.no_test}")
    else:
        console.print(results_table(summary))
    say_outcome(console, summary)
    say(console, f"Folder of the run: {folder}")


def say_outcome(console: Console, summary: Summary) -> None:
    """Print what came of training steps beside what was promised, and what is to be said of it."""
    console.print(outcome_table(summary))
    for warning in summary.warnings:
        say(console, f"Warning: {warning}")
