"""Sweeps end with the table of their runs, however they end, and `compare` makes it again."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from gru_parallel.app import commands, train
from tests.cli.in_process import SMALL, RunCommand
from tests.cli.many_runs import leave_run, run_at_once

CompareCommand = Callable[..., tuple[int, str, str]]
SWEEP = ("seed=0,1", "model.num_layers=2,4", "hydra.sweep.dir=sweep")


@pytest.fixture
def compare_command(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CompareCommand:
    """`python -m gru_parallel.compare` inside this process, in an empty folder."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return commands.run("compare", arguments), *capsys.readouterr()

    return run


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def leave_runs(folder: Path, n_runs: int = 4) -> None:
    """Leave a folder of runs with two seeds of one depth and then of another."""
    for number in range(n_runs):
        settings = {"seed": number % 2, "model": {"num_layers": 2 + number // 2}}
        leave_run(folder / str(number), settings, validation_loss=0.5 - 0.1 * number)


def test_a_folder_of_runs_gives_the_table_and_its_file(compare_command: CompareCommand) -> None:
    leave_runs(Path("sweep"))

    status, out, err = compare_command("sweep")

    assert (status, err) == (0, "")
    assert "Best by validation, not by the test: model.num_layers=3 (mean val/loss 0.25);" in out
    assert "its best run: sweep/3" in out
    rows = rows_of("sweep/comparison.csv")
    assert [row["folders"] for row in rows] == ["sweep/0 sweep/1", "sweep/2 sweep/3"]
    assert out.endswith("Table as CSV: sweep/comparison.csv\n")


def test_single_runs_and_folders_of_runs_go_together(compare_command: CompareCommand) -> None:
    leave_runs(Path("sweeps/a"), 11)
    leave_run(Path("own"), {"seed": 9, "model": {"num_layers": 2}})

    assert compare_command("own", "sweeps", "own", "--output=both.csv")[0] == 0
    folders = rows_of("both.csv")[0]["folders"]
    assert folders == "own sweeps/a/0 sweeps/a/1"
    # The tenth comes after the second.
    assert rows_of("both.csv")[-1]["folders"] == "sweeps/a/10"


def test_runs_that_did_not_end_well_are_named(compare_command: CompareCommand) -> None:
    leave_runs(Path("sweep"), 1)
    leave_run(Path("sweep/1"), {"seed": 1}, ended="failed", reason="Loss became NaN.")
    leave_run(Path("sweep/2"), {"seed": 2})
    Path("sweep/2/summary.json").unlink()
    Path("sweep/3/.hydra").mkdir(parents=True)
    Path("sweep/3/.hydra/overrides.yaml").write_text(
        "- model.num_layers=0\n- ++placement.device_map=null\n- placement.device_map=[0]\n"
    )

    status, out, _ = compare_command("sweep")

    assert status == 0
    assert [line for line in out.splitlines() if line.startswith("Not in the table")] == [
        "Not in the table: sweep/1: failed: Loss became NaN",
        "Not in the table: sweep/2: has not ended",
        "Not in the table: sweep/3: did not begin (model.num_layers=0 placement.device_map=[0])",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: RUN; see --help."),
        (["nowhere"], "nowhere is not a folder;"),
        (["empty"], "empty holds no run;"),
        (["open"], "None of 1 run has ended (open: has not ended); give"),
        (["broken"], "(broken: summary.json was not written by a run (JSONDecodeError"),
        (["torn"], "(torn: config.yaml was not written by a run (ParserError"),
        (["good", "--output=torn/config.yaml/f.csv"], "torn/config.yaml cannot be written ("),
    ],
)
def test_what_cannot_be_compared_ends_with_one_line(
    arguments: list[str], said: str, compare_command: CompareCommand
) -> None:
    Path("empty").mkdir()
    for name in ("open", "broken", "torn", "good"):
        leave_run(Path(name), {"seed": 0})
    Path("open/summary.json").unlink()
    Path("broken/summary.json").write_text("{")
    Path("torn/config.yaml").write_text("model: {num")

    status, _, err = compare_command(*arguments)

    assert status == 2
    assert err.startswith("gru_parallel: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.fixture
def second_run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Have runs end at once, and the second one as it is told: a status, or an exception."""

    def end(how: Any) -> None:
        folders: list[str] = []

        def run(prepared: Any, composed: DictConfig, folder: Path) -> int:
            folders.append(folder.name)
            if len(folders) != 2:
                return run_at_once(prepared, composed, folder)
            if isinstance(how, BaseException):
                raise how
            return int(how)

        monkeypatch.setattr(train, "run", run)

    return end


@pytest.mark.parametrize("how", [130, 143, KeyboardInterrupt()], ids=["130", "143", "at once"])
def test_a_sweep_that_is_stopped_ends_with_the_table_of_what_has_ended(
    how: Any, train_command: RunCommand, second_run: Callable[[Any], None]
) -> None:
    second_run(how)
    ended = train_command(*SMALL, *SWEEP, flags=("-m",))

    assert ended.status == (how if isinstance(how, int) else 130)
    assert "=== Run 3" not in ended.out
    assert "Not in the table: sweep/1 (seed=0, model.num_layers=4): did not begin" in ended.out
    assert [row["folders"] for row in rows_of("sweep/comparison.csv")] == ["sweep/0"]


def test_a_fault_of_the_program_in_one_run_leaves_the_others(
    train_command: RunCommand, second_run: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    second_run(ValueError("a bug"))

    with pytest.raises(ValueError, match="a bug"):
        train_command(*SMALL, *SWEEP, flags=("-m",))

    assert "sweep/1 (seed=0, model.num_layers=4): a bug" in capsys.readouterr().out
    rows = rows_of("sweep/comparison.csv")
    assert [row["folders"] for row in rows] == ["sweep/0 sweep/2", "sweep/3"]


def test_a_failed_run_gives_the_sweep_its_status_and_the_rest_goes_on(
    train_command: RunCommand, second_run: Callable[[Any], None]
) -> None:
    second_run(1)
    ended = train_command(*SMALL, *SWEEP, flags=("-m",))

    assert ended.status == 1
    assert "=== Run 4 of 4: seed=1, model.num_layers=4 ===" in ended.out
    assert len(rows_of("sweep/comparison.csv")) == 2


def test_a_sweep_over_engines_refuses_the_one_that_needs_a_launcher(
    train_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "run", run_at_once)
    sweep = ["engine=threads,processes", "hydra.sweep.dir=sweep"]
    ended = train_command(*SMALL, *sweep, flags=("-m",))

    assert ended.status == 2
    assert "engine=processes has one process per stage, which torchrun starts" in ended.err
    assert [row["folders"] for row in rows_of("sweep/comparison.csv")] == ["sweep/0"]


def test_a_sweep_of_a_file_is_counted_as_one_of_the_command_line(
    train_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "run", run_at_once)
    file = Path("own/experiment/seeds.yaml")
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed: 2,3\n")
    given = ["experiment=seeds", "model.num_layers=1,2", "hydra.sweep.dir=sweep"]
    flags = ("-m", "--config-dir", "own")

    ended = train_command(*SMALL, *given, flags=flags)

    headings = [line for line in ended.out.splitlines() if line.startswith("=== Run")]
    assert headings == [
        f"=== Run {n} of 4: seed={seed}, model.num_layers={layers} ==="
        for n, (seed, layers) in enumerate([(2, 1), (2, 2), (3, 1), (3, 2)], start=1)
    ]
    # The command line decides.
    ended = train_command(*SMALL, *given, "seed=7", "hydra.sweep.dir=other", flags=flags)
    assert "=== Run 2 of 2: model.num_layers=2 ===" in ended.out
