"""Runs that have finished are kept, and are run again only if settings differ or on request."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest

from benchmarks import training
from benchmarks.training import FinishedRuns
from gru_parallel.errors import UsageError


def options(*arguments: str, quick: bool = False) -> Namespace:
    parser = ArgumentParser()
    FinishedRuns.add_options(parser)
    return Namespace(**vars(parser.parse_args(arguments)), quick=quick)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(training, "RESULTS", tmp_path)
    return tmp_path


class Counted:
    """A run that counts how often it ran."""

    def __init__(self) -> None:
        self.n_runs = 0

    def __call__(self) -> dict[str, float]:
        self.n_runs += 1
        return {"mse": float(self.n_runs)}


def test_a_finished_run_is_not_run_again(results: Path) -> None:
    run = Counted()

    for _ in range(2):
        found = FinishedRuns("any", options()).get("system", ["model.hidden_size=8"], 0, run)
        assert found is not None
        assert found["mse"] == 1.0
        assert found["date"]

    FinishedRuns("any", options()).get("system", ["model.hidden_size=8"], 1, run)
    FinishedRuns("any", options()).get("other", ["model.hidden_size=8"], 0, run)
    FinishedRuns("any", options()).get("system", ["model.hidden_size=9"], 0, run)
    assert run.n_runs == 4
    FinishedRuns("any", options("--anew")).get("system", ["model.hidden_size=8"], 0, run)
    found = FinishedRuns("any", options()).get("system", ["model.hidden_size=8"], 0, run)
    assert found is not None
    assert found["mse"] == 5.0
    assert (results / "runs" / "any.json").is_file()


def test_finished_runs_are_shown_without_running_others(results: Path) -> None:
    run = Counted()
    assert FinishedRuns("any", options("--finished")).get("system", [], 0, run) is None
    FinishedRuns("any", options()).get("system", [], 0, run)
    assert FinishedRuns("any", options("--finished")).get("system", [], 0, run) is not None
    assert run.n_runs == 1


def test_a_smoke_run_is_neither_kept_nor_taken_for_a_run(results: Path) -> None:
    run = Counted()
    FinishedRuns("any", options(quick=True)).get("system", [], 0, run)
    FinishedRuns("any", options()).get("system", [], 0, run)
    FinishedRuns("any", options(quick=True)).get("system", [], 0, run)
    assert run.n_runs == 3


def test_a_command_that_fails_is_shown() -> None:
    with pytest.raises(UsageError, match=r"gru_parallel\.nothing ended with 1: .*No module"):
        training.command("gru_parallel.nothing")
