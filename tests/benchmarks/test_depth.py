"""Stacks of several depths have as many parameters, and validation alone chooses among them."""

import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import training
from benchmarks.depth import command
from benchmarks.depth.cases import DEPTHS, ETTH1, LAYERS, LORENZ96, TASKS, Task, case_of
from benchmarks.depth.command import DEPTH
from benchmarks.depth.numbers import Run, StackNumbers, best
from benchmarks.tables import markdown_table
from benchmarks.training import Found
from gru_parallel.assembly.module import build_module
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_all_depths_have_the_parameters_of_one_layer_within_three_percent(task: Task) -> None:
    wanted = case_of(task, 1, "plain")
    assert wanted.hidden_size == task.width

    for depth in DEPTHS:
        case = case_of(task, depth, "residual, norm")
        assert case.n_parameters == pytest.approx(wanted.n_parameters, rel=0.03)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_parameters_are_counted_as_torch_counts_them(task: Task) -> None:
    case = case_of(task, 4, "residual, norm")
    config = read_config(compose_config(case.settings(Path("any.csv"))))

    module = build_module(config, task.widths)

    assert sum(weight.numel() for weight in module.parameters()) == case.n_parameters


def stack(depth: int, layers: str, *runs: tuple[float, float]) -> StackNumbers:
    found = tuple(
        Run(seed, validation, test, 2 * test, 1.0, "2026-01-31")
        for seed, (validation, test) in enumerate(runs)
    )
    return StackNumbers("any", depth, layers, 64, 1000, found)


NUMBERS = (
    # Better in the test, and not chosen.
    stack(1, "plain", (0.5, 0.1)),
    stack(1, "residual, norm", (0.4, 0.2), (0.4, 0.4)),
    stack(2, "plain", (0.3, 0.3)),
)


def test_validation_chooses_how_layers_are_joined() -> None:
    assert best(NUMBERS[:2]).layers == "residual, norm"

    chosen, tried = map(markdown_table, DEPTH.tables(NUMBERS))

    row = "| 1 | residual, norm | 64 | 1,000 | 2 | 0.400 ± 0.000 | 0.300 ± 0.141 | 0.600 ± 0.283 |"
    assert row in chosen
    assert "| 2 | plain | 64 | 1,000 | 1 | 0.300 | 0.300 | 0.600 | 1.0 |" in chosen
    assert "| 1 | 0.500 | 0.400 |" in tried


def test_numbers_are_read_as_they_were_written() -> None:
    assert tuple(DEPTH.read(asdict(own)) for own in NUMBERS) == NUMBERS


def test_every_run_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[str, ...]] = []

    def train(settings: Sequence[str]) -> Found:
        trained.append(tuple(settings))
        loss = 2.0 if "model.residual=true" in settings else 1.0
        return {"validation_loss": loss, "mse": 1.0, "mae": 1.0, "epoch_s": 1.0}

    monkeypatch.setattr(training, "RESULTS", tmp_path)
    monkeypatch.setattr(command, "_train", train)
    monkeypatch.setattr(command, "DEPTHS", (1,))
    parser = ArgumentParser()
    DEPTH.add_options(parser)
    parser.set_defaults(quick=False)
    options = parser.parse_args(["--tasks", "lorenz96", "--seeds", "3", "--anew"])

    plain, residual = DEPTH.measure(options, Console(quiet=True))

    assert [run.seed for run in plain.runs] == [0, 1, 2]
    assert [run.seed for run in residual.runs] == [0]
    assert len(set(trained)) == len(trained) == 4


@pytest.mark.long
def test_a_quick_run_trains_every_stack() -> None:
    line = [sys.executable, "-m", "benchmarks", "depth", "--quick", "--tasks", "lorenz96"]
    done = subprocess.run(
        line, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert LORENZ96.title in done.stdout
    assert ETTH1.title not in done.stdout
    assert all(name in done.stdout for name in LAYERS)
