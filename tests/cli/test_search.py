"""`search` tries settings by what the runs before came to, and goes on where it was stopped."""

import csv
import errno
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gru_parallel.app import commands, search_settings, train
from gru_parallel.assembly import data
from gru_parallel.data.lorenz96 import lorenz96_table
from gru_parallel.errors import UsageError
from gru_parallel.training.epoch_record import EpochResult
from tests.cli.composing import load_configs_once, read_sections_once, write_no_configs
from tests.cli.in_process import SMALL
from tests.cli.many_runs import leave_run, loss_of, plain, run_at_once

SearchCommand = Callable[..., tuple[int, str, str]]
SERIES = cache(lorenz96_table)
SPACE = ("model.num_layers=range(1,5)", "trainer.max_epochs=1")


@pytest.fixture
def search_command(
    in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> SearchCommand:
    """`python -m gru_parallel.search` inside this process, in an empty folder."""
    load_configs_once(monkeypatch)
    read_sections_once(monkeypatch)
    write_no_configs(monkeypatch)
    monkeypatch.setattr(data, "lorenz96_table", SERIES)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["search"])
        capsys.readouterr()
        return commands.run("search", [*SMALL, "folder=s", *arguments]), *capsys.readouterr()

    return run


def test_without_optuna_it_says_what_to_install_and_leaves_nothing(
    search_command: SearchCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_settings, "find_spec", lambda _: None)

    status, _, err = search_command(*SPACE)

    assert status == 2
    assert err == ("gru_parallel: A search needs optuna; pip install 'gru-parallel[optuna]'.\n")
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("engine=processes", "A search is many runs in one process"),
        ("trainer.limit_val_batches=0", "trainer.limit_val_batches=0 leaves it out;"),
        ("model.dropout=2", "model.dropout=2"),
    ],
)
def test_what_no_run_could_be_is_refused_before_the_first(
    setting: str, said: str, search_command: SearchCommand
) -> None:
    status, _, err = search_command(*SPACE, setting)

    assert status == 2
    assert said in err
    assert not list(Path().iterdir())


def test_it_tries_everything_once_and_ends_with_the_table(
    search_command: SearchCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    monkeypatch.setattr(train, "run", run_at_once)

    status, out, _ = search_command(*SPACE, "n_trials=9", "seed=3")

    assert status == 0
    with Path("s/comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["model.num_layers"] for row in rows) == ["1", "2", "3", "4"]
    assert [row["model.num_layers"] for row in rows if row["best"] == "1"] == ["4"]
    assert "Ends here: nothing is suggested that was not tried." in out
    (last,) = [line for line in out.splitlines() if line.startswith("Over several seeds")]
    assert "train -m seed=0,1,2" in last
    # That of the search is left out: the last seed of a sweep is the one that counts.
    assert last.count("seed=") == 1
    assert last.endswith("model.num_layers=4")


def test_one_that_was_stopped_goes_on_as_it_would_have(
    search_command: SearchCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    space = "optimizer.lr=tag(log,interval(1e-4,1e-1))"
    tried: list[tuple[str, float]] = []
    stops = [True]

    def run(prepared: Any, composed: DictConfig, folder: Path, **_: Any) -> int:
        tried.append((folder.name, composed.optimizer.lr))
        if len(tried) == 2 and stops.pop():
            raise KeyboardInterrupt
        return run_at_once(prepared, composed, folder)

    monkeypatch.setattr(train, "run", run)
    assert search_command(space, "n_trials=3")[0] == 130
    assert search_command(space, "n_trials=3", "model.num_layers=2")[0] == 2
    assert search_command(space, "n_trials=3")[0] == 0

    # The second one is run again, in its folder; nothing else is.
    assert tried[1] == tried[2]
    assert [name for name, _ in tried[:3]] == ["0", "1", "1"]
    assert len(tried) == 4
    # What comes then is what comes without a stop.
    assert search_command(space, "n_trials=3", "folder=whole")[0] == 0
    assert [rate for _, rate in tried[4:]] == [tried[0][1], *(rate for _, rate in tried[2:4])]
    del tried[4:]
    # A complete one has nothing to do.
    assert search_command(space, "n_trials=3")[0] == 0
    assert len(tried) == 4


@pytest.mark.parametrize("step", ["tell", "enqueue_trial"])
def test_one_that_is_stopped_while_it_is_taken_up_loses_no_run(
    step: str, search_command: SearchCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna = pytest.importorskip("optuna")
    tried: list[str] = []

    def run(prepared: Any, composed: DictConfig, folder: Path, **_: Any) -> int:
        tried.append(folder.name)
        if len(tried) == 1:
            raise KeyboardInterrupt
        return run_at_once(prepared, composed, folder)

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "run", run)
    arguments = ("optimizer.lr=interval(1e-4,1e-1)", "n_trials=2")
    assert search_command(*arguments)[0] == 130
    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, step, stop)
        assert search_command(*arguments)[0] == 130

    assert search_command(*arguments)[0] == 0
    # The one that continues it has a number, too.
    assert tried == ["0", "0", "2"]


def test_one_that_was_stopped_is_judged_by_its_epochs_before(
    search_command: SearchCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    stops = [True]

    def run(prepared: Any, composed: DictConfig, folder: Path, on_epoch: Any) -> int:
        first = 0 if stops else 1
        on_epoch(EpochResult(first, 3, True, 1.0, {"val/loss": 5.0 - first}, True, 0.1, 1.0))
        if stops and stops.pop():
            raise KeyboardInterrupt
        return run_at_once(prepared, composed, folder)

    monkeypatch.setattr(train, "run", run)
    arguments = ("optimizer.lr=interval(1e-4,1e-1)", "n_trials=1", "prune=true")
    assert search_command(*arguments)[0] == 130
    assert search_command(*arguments)[0] == 0

    assert suggested()[-1].intermediate_values == {0: 5.0, 1: 4.0}


def suggested() -> list[Any]:
    """Return all that optuna has suggested, with what it came to."""
    import optuna

    backend = optuna.storages.journal.JournalFileBackend("s/search.log")
    storage = optuna.storages.JournalStorage(backend)
    return list(optuna.load_study(study_name="search", storage=storage).trials)


def test_a_full_disk_ends_it_with_how_it_goes_on(
    search_command: SearchCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    n_runs = 0

    def run(prepared: Any, composed: DictConfig, folder: Path, **_: Any) -> int:
        nonlocal n_runs
        n_runs += 1
        if n_runs == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "s/1/metrics.csv")
        return run_at_once(prepared, composed, folder)

    def no_table(*_: object) -> None:
        raise UsageError("s/comparison.csv cannot be written")

    monkeypatch.setattr(train, "run", run)
    monkeypatch.setattr("gru_parallel.app.search.show_runs", no_table)

    status, _, err = search_command(*SPACE)

    assert status == 1
    assert err == (
        "gru_parallel: The run cannot write s/1/metrics.csv (No space left on device); make room or"
        " give access, and give the same command with folder=, that of the search.\n"
    )


def test_a_run_that_raises_an_error_counts_and_does_not_end_the_search(
    search_command: SearchCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    tried: list[str] = []

    def run(prepared: Any, composed: DictConfig, folder: Path, **_: Any) -> int:
        tried.append(folder.name)
        if folder.name == "1":
            leave_run(folder, plain(composed))
            (folder / "summary.json").unlink()
            raise RuntimeError("CUDA out of memory.\nTried 2 GiB.")
        return run_at_once(prepared, composed, folder)

    monkeypatch.setattr(train, "run", run)
    space = "optimizer.lr=interval(1e-4,1e-1)"

    status, out, err = search_command(space, "n_trials=3")

    assert status == 0
    assert tried == ["0", "1", "2"]
    assert "Traceback" in err
    assert "Not in the table: s/1: failed: RuntimeError: CUDA out of memory. Tried 2 GiB\n" in out
    # It is not tried again, and its reason is still known.
    status, out, _ = search_command(space, "n_trials=4")
    assert status == 0
    assert tried == ["0", "1", "2", "3"]
    assert "s/1: failed: RuntimeError: CUDA out of memory" in out


def test_a_run_that_fails_and_one_that_is_pruned_are_named(
    search_command: SearchCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    n_runs = 0

    def run(prepared: Any, composed: DictConfig, folder: Path, on_epoch: Any) -> int:
        nonlocal n_runs
        n_runs += 1
        if n_runs == 1:
            leave_run(folder, plain(composed), ended="failed", reason="Loss became NaN.")
            return 1
        loss = 9.0 if n_runs == 8 else loss_of(composed)
        try:
            on_epoch(EpochResult(0, 3, True, 1.0, {"val/loss": loss}, True, 0.1, 1.0))
        except train.EndOfRunError as error:
            leave_run(folder, plain(composed), ended=error.ended, reason=str(error))
            return error.status
        leave_run(folder, plain(composed), validation_loss=loss)
        return 0

    monkeypatch.setattr(train, "run", run)
    space = "optimizer.lr=interval(1e-4,1e-1)"

    status, out, _ = search_command(space, "n_trials=8", "prune=true")

    assert status == 0
    assert [line for line in out.splitlines() if line.startswith("Not in the table")] == [
        "Not in the table: s/0: failed: Loss became NaN",
        "Not in the table: s/7: pruned: After epoch 0, the lowest val/loss of this run is above the"
        " median of those before it",
    ]


def test_settings_that_come_again_do_not_count_among_the_runs_that_are_spared(
    search_command: SearchCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    pruned: list[str] = []
    losses = iter(range(1, 10))

    def run(prepared: Any, composed: DictConfig, folder: Path, on_epoch: Any) -> int:
        loss = float(next(losses))
        try:
            on_epoch(EpochResult(0, 3, True, 1.0, {"val/loss": loss}, True, 0.1, 1.0))
        except train.EndOfRunError:
            pruned.append(folder.name)
        leave_run(folder, plain(composed), validation_loss=loss)
        return 0

    monkeypatch.setattr(train, "run", run)
    # Of so few values, some are suggested several times before the last of them.
    status, _, _ = search_command(*SPACE, "n_trials=4", "prune=true", "seed=3")

    assert status == 0
    assert pruned == []
    assert len(suggested()) > 4
