"""Writes test_metrics.csv: the errors of each target at each step, in both units."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from gru_parallel.step_errors import StepError


def write_step_errors(errors: Sequence[StepError], path: Path) -> None:
    """Write a row for each target, step and method, with nine digits."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(StepError._fields)
        for target, step, method, *numbers in errors:
            writer.writerow([target, step, method, *(f"{number:.9g}" for number in numbers)])
