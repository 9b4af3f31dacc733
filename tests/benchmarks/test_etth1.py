"""DLinear computes what its paper says, and the tables of ETTh1 show means, spreads and targets."""

import subprocess
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.etth1.command import ETTH1, NAIVE, SERIES
from benchmarks.etth1.dlinear import DLinear, moving_average
from benchmarks.etth1.numbers import OURS, Errors, SystemNumbers
from benchmarks.etth1.systems import SYSTEMS, check_series
from benchmarks.tables import markdown_table
from gru_parallel.engine.engine import WholeEngine
from gru_parallel.errors import UsageError
from gru_parallel.model import LOSSES, Windows


def test_the_moving_average_repeats_the_rows_at_the_ends() -> None:
    rows = torch.randn(40)
    padded = [*[rows[0]] * 12, *rows, *[rows[-1]] * 12]

    found = moving_average(rows.reshape(1, 1, 40))

    expected = [torch.stack(padded[start : start + 25]).mean() for start in range(40)]
    assert torch.allclose(found.flatten(), torch.stack(expected), atol=1e-6)


def test_dlinear_adds_a_map_of_the_trend_and_one_of_the_rest() -> None:
    model = DLinear(30, 5)
    x = torch.randn(4, 30, 3)
    for part in (model.trend, model.rest):
        nn.init.zeros_(part.bias)

    # A straight line of no slope is all trend.
    level = x[:, :1].expand(-1, 30, -1)
    found, _ = model.run(level)

    assert torch.allclose(found, level[:, :1] * model.trend.weight.sum(1)[None, :, None], atol=1e-5)
    assert model.run(x)[0].shape == (4, 5, 3)
    # Each column by itself.
    assert torch.allclose(model.run(x[:, :, 1:2])[0], model.run(x)[0][:, :, 1:2], atol=1e-6)


def test_an_engine_takes_dlinear_for_a_model() -> None:
    x, y = torch.randn(4, 30, 3), torch.randn(4, 5, 3)
    engine = WholeEngine(DLinear(30, 5), LOSSES["mse"])

    loss = engine.train_step(Windows(x, y))

    assert torch.allclose(loss, nn.functional.mse_loss(engine.predict(Windows(x)), y))


DAY = "2026-01-31"
NUMBERS = (
    SystemNumbers(NAIVE, 96, (Errors(None, 0.512, 0.433, None, 0.0),)),
    SystemNumbers(
        OURS, 96, (Errors(0, 0.360, 0.39, 0.65, 9.0, DAY), Errors(1, 0.370, 0.40, 0.66, 9.5, DAY))
    ),
)


def test_the_tables_show_means_spreads_and_targets() -> None:
    errors, runs, targets = map(markdown_table, ETTH1.tables(NUMBERS))

    assert "| segments and decoder | 0.365 ± 0.007 / 0.395 ± 0.007 |" in errors
    assert "| seasonal naive, 24 h | 0.512 / 0.433 |" in errors
    assert "| DLinear, published | 0.386 / 0.400 |" in errors
    assert (
        "| segments and decoder, 96, seed 1 | 0.6600 | 0.3700 | 0.4000 | 9.5 | 2026-01-31 |" in runs
    )
    assert "| 0.3650 | met |" in targets


def test_a_system_that_has_not_finished_leaves_its_place_empty() -> None:
    later = SystemNumbers(NAIVE, 192, NUMBERS[0].runs)

    errors, _, targets = map(markdown_table, ETTH1.tables((*NUMBERS, later)))

    assert "| segments and decoder | 0.365 ± 0.007 / 0.395 ± 0.007 |  |" in errors
    assert "192" not in targets


def test_systems_are_trained_at_the_horizon_that_is_asked_for() -> None:
    settings = SYSTEMS["segments"].settings_at(336, Path("any.csv"))

    assert settings == ["experiment=etth1_336", "data.path=any.csv", "data.horizon=336"]


def test_the_command_that_repeats_a_part_names_its_systems() -> None:
    parser = ArgumentParser()
    ETTH1.add_options(parser)
    words = ["--seeds", "1", "--horizons", "96", "--systems", "segments", "plain"]

    assert ETTH1.repeat_with(parser.parse_args(words)).split() == words


def test_numbers_are_read_as_they_were_written() -> None:
    assert tuple(ETTH1.read(asdict(own)) for own in NUMBERS) == NUMBERS


@pytest.mark.long
def test_a_quick_run_trains_every_system() -> None:
    if not SERIES.is_file():
        pytest.skip(f"{SERIES} is absent: the project does not vendor the series")
    command = [sys.executable, "-m", "benchmarks", "etth1", "--quick", "--horizons", "96", "720"]

    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    for name in ("DLinear, 96, seed 0", "plain GRU, 4 layers, 720, seed 0", OURS):
        assert name in done.stdout


def test_an_absent_series_is_said() -> None:
    with pytest.raises(UsageError, match="name it with --data"):
        check_series(Path("nowhere.csv"))
