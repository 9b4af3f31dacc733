"""Two runs never work in one folder at one time."""

import os
from pathlib import Path
from typing import Any, cast

import pytest

from gru_parallel.app import run_lock
from gru_parallel.app.run_lock import FolderInUseError, RunLock, take_folder, wait_for_folder
from gru_parallel.ranks import Ranks
from gru_parallel.run_folder import RunFolder
from tests.another_process import another_process, end


class FakeRanks:
    """A rank that has rank 0 take the folder."""

    def __init__(self, *, is_first: bool) -> None:
        self.is_first = is_first

    def broadcast(self, thing: Any, what: str) -> Any:
        return thing


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "WAIT_S", 0.2)
    monkeypatch.setattr(run_lock, "POLL_S", 0.02)


def test_a_folder_is_free_once_the_process_that_held_it_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with another_process(lambda: take_folder(RunLock(), tmp_path)) as pid, RunLock() as lock:
        with pytest.raises(FolderInUseError, match=rf"in use by another run, process {pid} on "):
            wait_for_folder(lock, tmp_path)
        with pytest.raises(FolderInUseError, match=r"has just begun"):
            take_folder(lock, tmp_path)
        (said,) = capsys.readouterr().out.splitlines()
        assert said.startswith(f"Waits up to 0.2 s for process {pid} on ")

        end(pid)
        wait_for_folder(lock, tmp_path)

        assert capsys.readouterr().out == ""
        assert RunFolder(tmp_path).lock.read_text().startswith(f"process {os.getpid()} on ")


def test_a_rank_that_outlives_the_first_one_keeps_the_folder(tmp_path: Path) -> None:
    other = cast("Ranks", FakeRanks(is_first=False))
    with another_process(lambda: take_folder(RunLock(), tmp_path)) as first:
        with another_process(lambda: take_folder(RunLock(), tmp_path, other)), RunLock() as lock:
            end(first)
            with pytest.raises(FolderInUseError):
                wait_for_folder(lock, tmp_path)
        with RunLock() as lock:
            wait_for_folder(lock, tmp_path)


def test_a_process_that_loads_data_does_not_keep_it(tmp_path: Path) -> None:
    with RunLock() as held:
        take_folder(held, tmp_path)
        with another_process(lambda: None):
            held.__exit__(None, None, None)
            with another_process(lambda: wait_for_folder(RunLock(), tmp_path)):
                pass


def test_nothing_is_made_before_a_run_begins(tmp_path: Path) -> None:
    with RunLock() as lock:
        wait_for_folder(lock, tmp_path)
        wait_for_folder(lock, tmp_path / "none")
        assert not list(tmp_path.iterdir())

        take_folder(lock, tmp_path / "run")

        assert [path.name for path in tmp_path.rglob("*")] == ["run", ".lock"]


@pytest.mark.parametrize("number", [37, 95])
def test_a_file_system_without_locks_or_that_is_read_only_stops_nothing(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.lockf", refuse)
    with RunLock() as lock:
        take_folder(lock, tmp_path)
    monkeypatch.setattr("os.open", refuse)
    with RunLock() as lock:
        wait_for_folder(lock, tmp_path)
        take_folder(lock, tmp_path)
