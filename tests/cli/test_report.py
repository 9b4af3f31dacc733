"""`report` writes a page of runs that have ended, from their folders alone."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gru_parallel.app import commands
from tests.cli.finished import finish_run
from tests.cli.in_process import SMALL, RunCommand

ReportCommand = Callable[..., tuple[int, str, str]]
SHORT = (*SMALL, "trainer.max_epochs=1")


@pytest.fixture
def report_command(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> ReportCommand:
    """`python -m gru_parallel.report` inside this process, in an empty folder."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return commands.run("report", arguments), *capsys.readouterr()

    return run


def test_the_page_of_a_run_stands_in_its_folder(
    train_command: RunCommand, report_command: ReportCommand
) -> None:
    finish_run(train_command, *SHORT)

    assert report_command("run") == (0, "run/report.html\n", "")
    text = Path("run/report.html").read_text(encoding="utf-8")
    assert "forecasts over the test part" in text
    # An action of the predicted and of the measured step, and a row of forecasts.csv.
    assert "1F0.3" in text


def test_several_runs_make_one_page_in_the_folder_of_the_first_or_where_one_says(
    train_command: RunCommand, report_command: ReportCommand
) -> None:
    run = finish_run(train_command, *SHORT)
    for name in ("one", "other"):
        shutil.copytree(run, name)

    assert report_command("other", "one")[:2] == (0, "other/report.html\n")
    assert not Path("one/report.html").exists()
    assert report_command("one", "other", "--output", "both.html")[:2] == (0, "both.html\n")
    assert Path("both.html").is_file()


def test_a_folder_that_holds_no_run_ends_with_one_line(report_command: ReportCommand) -> None:
    Path("empty").mkdir()

    status, out, err = report_command("empty")

    assert (status, out) == (2, "")
    assert err.startswith("gru_parallel: empty does not hold the result of a run (FileNotFound")
    assert err.endswith("give the folder of a run that has ended.\n")
    assert err.count("\n") == 1
    for name in ("nope", "a file"):
        Path("a file").touch()
        said = f"gru_parallel: {name} is not a folder; give that of a run that has ended.\n"
        assert report_command(name) == (2, "", said)


def test_a_file_that_cannot_be_written_is_named(
    train_command: RunCommand, report_command: ReportCommand
) -> None:
    finish_run(train_command, *SHORT)

    status, _, err = report_command("run", "--output=run/plan.json/page.html")

    assert status == 2
    assert "cannot be written (" in err
    assert "plan.json" in err


def test_help_is_given_and_wrong_lines_are_refused(report_command: ReportCommand) -> None:
    status, out, _ = report_command("--help")
    assert status == 0
    assert out.startswith("gru-parallel report RUN [RUN ...] [--output FILE]")
    assert report_command()[0] == report_command("--open", "run")[0] == 2
