"""Of two runs that are given one new folder, the later one leaves nothing in it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gru_parallel.app import prepare_run
from gru_parallel.app.run_lock import RunLock, take_folder
from tests.another_process import another_process
from tests.cli.in_process import SMALL, RunCommand


@pytest.fixture
def another_begins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another run begins in run/ while this one is prepared."""
    prepare = prepare_run.prepare
    with ExitStack() as others:

        def prepare_slowly(*arguments: Any) -> prepare_run.Prepared:
            others.enter_context(another_process(lambda: take_folder(RunLock(), Path("run"))))
            return prepare(*arguments)

        monkeypatch.setattr(prepare_run, "prepare", prepare_slowly)
        yield


@pytest.mark.usefixtures("another_begins")
def test_the_later_of_two_runs_writes_nothing_into_the_folder_of_the_other(
    train_command: RunCommand,
) -> None:
    ended = train_command(*SMALL)

    assert ended.status == 1
    assert "which has just begun; choose another folder" in ended.err
    assert [path.name for path in ended.folder.iterdir()] == [".lock"]
