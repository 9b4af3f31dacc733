"""Runs of hours that have been kept are found again, whatever has become of the settings."""

from argparse import ArgumentParser
from typing import Any

import pytest
from rich.console import Console

from benchmarks.benchmark import Benchmark
from benchmarks.depth import command as depth_command
from benchmarks.depth.command import DEPTH
from benchmarks.employment.command import EMPLOYMENT
from benchmarks.etth1 import command as etth1_command
from benchmarks.etth1.command import ETTH1, NAIVE
from benchmarks.results import load

SAVED = "{}-two-cores"


@pytest.mark.parametrize("benchmark", [DEPTH, EMPLOYMENT, ETTH1], ids=lambda own: own.name)
def test_the_runs_behind_the_saved_results_are_found_again(
    benchmark: Benchmark[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = load(SAVED.format(benchmark.name), benchmark).numbers
    # The project does not vendor the series.
    naive = {
        own.horizon: own.runs[0]
        for own in load(SAVED.format("etth1"), ETTH1).numbers
        if own.system == NAIVE
    }
    monkeypatch.setattr(etth1_command, "seasonal_naive", lambda horizon, _: naive[horizon])
    for command in (depth_command, etth1_command):
        monkeypatch.setattr(command, "check_series", lambda _: None)
    parser = ArgumentParser()
    benchmark.add_options(parser)
    options = parser.parse_args(["--finished"])
    options.quick = False

    assert tuple(benchmark.measure(options, Console(quiet=True))) == saved
