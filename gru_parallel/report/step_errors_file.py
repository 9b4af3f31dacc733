"""Writes test_metrics.csv: the errors of each target at each step, in both units."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gru_parallel.step_errors import StepError
from gru_parallel.whole_file import write_table


def write_step_errors(errors: Sequence[StepError], path: Path) -> None:
    """Write a row for each target, step and method; see `write_table`."""
    write_table(StepError._fields, errors, path)
