"""On a full disk, a command that uses a run ends with one line, and leaves no part of a file."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.finished import OF_FILE, finish_run, names_in
from tests.cli.in_process import RunCommand


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """Have the system refuse to write more into any file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (["backtest", "output=new"], "new/forecasts.csv"),
        (["evaluate", "output=new"], "new/evaluation.json"),
        (["predict", "output=new/f.csv"], "new/f.csv"),
        (["predict", "output=new/f.parquet"], "new/f.parquet"),
    ],
)
def test_a_file_that_does_not_fit_is_named_and_nothing_of_it_is_left(
    command: list[str], file: str, train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)
    before = names_in(Path())

    with files_of_at_most(100):
        ended = use_command(command[0], "run=run", *command[1:])

    assert ended.status == 2
    assert f"{file} cannot be written (File too large)" in ended.err
    assert len(ended.err.splitlines()) == 1, ended.err
    assert names_in(Path()) == before


def test_where_only_the_picture_does_not_fit_the_numbers_are_there(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)

    with files_of_at_most(20_000):
        ended = use_command("backtest", "run=run", "output=new", draws=True)

    assert "new/forecast.png cannot be written (File too large)" in ended.err
    assert names_in(Path("new")) == ["backtest.csv", "backtest.json", "forecasts.csv"]


@pytest.mark.parametrize(
    ("command", "file"), [("backtest", ""), ("evaluate", ""), ("predict", "/f.csv")]
)
def test_where_nothing_can_be_written_nothing_is_computed(
    command: str, file: str, train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)

    ended = use_command(command, "run=run", f"output=series.csv/new{file}")

    assert (ended.status, ended.out) == (2, "")
    assert "series.csv/new cannot be written (Not a directory)" in ended.err
