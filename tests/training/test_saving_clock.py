"""Checkpoints are ordered as they were written, whatever the clock of the machine says."""

import time
from pathlib import Path

import pytest

from gru_parallel.run_folder import RunFolder, one_before
from gru_parallel.training import PipelineStrategy
from gru_parallel.training.newest import newest_checkpoint, newest_first
from tests.builders import make_plan

HOUR_S = 3600.0


def write(strategy: PipelineStrategy, path: Path) -> None:
    strategy.save_checkpoint({"state_dict": {}}, path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the clock says, as "now"; it goes on by itself no more."""
    said = {"now": time.time()}
    monkeypatch.setattr(time, "time", lambda: said["now"])
    return said


def test_what_a_run_writes_after_its_clock_was_set_back_is_newer(
    tmp_path: Path, clock: dict[str, float]
) -> None:
    folder, strategy = RunFolder(tmp_path), PipelineStrategy(make_plan([2, 2]))
    write(strategy, folder.best)

    clock["now"] -= HOUR_S
    write(strategy, folder.last)
    write(strategy, folder.last)

    assert newest_first(folder) == [folder.last, one_before(folder.last), folder.best]


def test_a_resumed_run_whose_clock_was_set_back_is_resumed_where_it_has_come_to(
    tmp_path: Path, clock: dict[str, float]
) -> None:
    folder, plan = RunFolder(tmp_path), make_plan([2, 2])
    for path in (folder.last, folder.best, folder.last):
        clock["now"] -= HOUR_S
        resumed = PipelineStrategy(plan)
        write(resumed, path)

        assert newest_checkpoint(folder) == (path, [])


def test_a_run_that_goes_on_from_another_folder_is_later_than_it(
    tmp_path: Path, clock: dict[str, float]
) -> None:
    before, after = RunFolder(tmp_path / "before"), RunFolder(tmp_path / "after")
    write(PipelineStrategy(make_plan([2, 2])), before.last)
    clock["now"] -= HOUR_S

    resumed = PipelineStrategy(make_plan([2, 2]))
    loaded = resumed.load_checkpoint(before.last)
    write(resumed, after.last)

    assert resumed.load_checkpoint(after.last)["saved_at"] > loaded["saved_at"]


def test_a_clock_that_is_right_is_taken_at_its_word(
    tmp_path: Path, clock: dict[str, float]
) -> None:
    folder, strategy = RunFolder(tmp_path), PipelineStrategy(make_plan([2, 2]))
    write(strategy, folder.last)
    clock["now"] += HOUR_S
    write(strategy, folder.last)

    assert strategy.load_checkpoint(folder.last)["saved_at"] == clock["now"]
