"""ckpt_path=last: a command that is repeated ends with the run that nothing disturbed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from gru_parallel.app import run_lock
from gru_parallel.app.last_checkpoint import with_last
from gru_parallel.app.run_lock import RunLock, take_folder
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.errors import UsageError
from gru_parallel.report import RunResult
from tests.another_process import another_process
from tests.cli.damage import cut_off, spoil
from tests.cli.in_process import (
    SMALL,
    Ended,
    RunCommand,
    assert_same_weights,
    checkpoint_of,
    rows_of,
    summary_of,
    write_first,
)

LAST, EVERY_TWO = "ckpt_path=last", "checkpoint.every_n_train_steps=2"


@pytest.fixture
def whole(train_command: RunCommand, kept: Path) -> Ended:
    """A whole run in whole/, trained once for all tests here."""
    if not kept.exists():
        ended = train_command(*SMALL, run="whole")
        assert ended.status == 0, ended.err
        shutil.copytree(ended.folder, kept)
        return ended
    return Ended(0, "", "", shutil.copytree(kept, Path.cwd() / "whole"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "whole"


def test_it_begins_and_resumes_mid_epoch_behind_a_damaged_one_to_the_last_bit(
    train_command: RunCommand, whole: Ended
) -> None:
    begun = train_command(*SMALL, "trainer.max_epochs=1", EVERY_TWO, LAST)
    assert "run has no checkpoint yet; a new run begins there" in begun.out
    checkpoints = begun.folder / "checkpoints"
    # Three steps: one checkpoint within the epoch, one at its end, which is the best, too.
    assert checkpoint_of(begun, "last.previous")["global_step"] == 2
    spoil(checkpoints / "last.ckpt")
    cut_off(checkpoints / "best.ckpt")
    (checkpoints / "last.ckpt.part").write_bytes(b"half")

    rest = train_command(*SMALL, "checkpoint.async=true", LAST)

    assert rest.status == 0, rest.err
    said = rest.out.replace("\n", " ")
    assert "Passed over: run/checkpoints/last.ckpt.part was still being written" in said
    assert "Passed over: run/checkpoints/last.ckpt is damaged" in said
    assert "Passed over: run/checkpoints/best.ckpt is damaged" in said
    assert "Resumed from run/checkpoints/last.previous.ckpt" in said
    names = ("step", "train/loss", "lr")
    rows, expected = ([[row[n] for n in names] for row in rows_of(e)] for e in (rest, whole))
    assert rows == expected
    assert_same_weights(rest, whole)
    assert_same_weights(rest, whole, "best")


def test_damaged_ones_alone_are_refused_and_named(train_command: RunCommand) -> None:
    begun = train_command(*SMALL, "trainer.max_epochs=1", LAST)
    paths = list((begun.folder / "checkpoints").iterdir())
    whole = [path.read_bytes() for path in paths]
    for harm in (spoil, cut_off):
        for path, content in zip(paths, whole, strict=True):
            path.write_bytes(content)
            harm(path)

        ended = train_command(*SMALL, LAST)

        assert ended.status == 2
        (line,) = ended.err.splitlines()
        for said in ("last.ckpt is damaged", "best.ckpt is damaged", "begin anew in another"):
            assert said in line


def test_a_run_does_not_begin_where_another_is_at_work(
    train_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = train_command(*SMALL, "trainer.max_epochs=1", LAST)
    monkeypatch.setattr(run_lock, "WAIT_S", 0.5)

    with another_process(lambda: take_folder(RunLock(), begun.folder)):
        ended = train_command(*SMALL, LAST)

    assert (ended.status, summary_of(ended)["ended"]) == (1, "completed")
    (line,) = ended.err.splitlines()
    assert line.startswith("gru_parallel: hydra.run.dir=run is in use by another run, process ")
    assert train_command(*SMALL, LAST).status == 0


def test_it_needs_a_folder_that_is_named() -> None:
    config = read_config(compose_config([LAST, "init_from=weights.ckpt"]))

    with pytest.raises(UsageError, match=r"name it, as in hydra\.run\.dir="):
        with_last(config, None)


def test_the_first_start_begins_with_weights_and_a_later_one_resumes(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    start = f"init_from={write_first(train_command, *SMALL, 'trainer.max_epochs=1')}"

    begun = train_command(*SMALL, "trainer.max_epochs=1", start, LAST)
    rest = train_command(*SMALL, start, LAST)

    assert "Begins with the weights of" in begun.out
    assert "Resumed from run/checkpoints/last.ckpt" in rest.out.replace("\n", " ")
    assert checkpoint_of(rest)["global_step"] == 6


def test_a_time_that_is_none_is_refused(train_command: RunCommand) -> None:
    ended = train_command(*SMALL, "checkpoint.train_time_interval=1h")

    assert ended.status == 2
    assert "checkpoint.train_time_interval=1h is not a time; use days, hours" in ended.err


def test_a_run_killed_just_before_its_last_checkpoint_has_it_once_it_is_resumed(
    train_command: RunCommand, whole: Ended
) -> None:
    checkpoints = whole.folder / "checkpoints"
    assert checkpoint_of(whole, "best")["global_step"] == 6
    final = checkpoint_of(whole)["state_dict"]
    (checkpoints / "last.previous.ckpt").replace(checkpoints / "last.ckpt")
    assert checkpoint_of(whole)["global_step"] == 3
    (whole.folder / "summary.json").unlink()

    resumed = train_command(*SMALL, LAST, run="whole")

    assert "nothing is left to train" in resumed.out.replace("\n", " ")
    saved = checkpoint_of(resumed)
    assert saved["global_step"] == 6
    assert all(torch.equal(weight, final[name]) for name, weight in saved["state_dict"].items())


def test_a_complete_run_that_is_repeated_keeps_what_was_measured_of_its_steps(
    train_command: RunCommand, whole: Ended
) -> None:
    before, first = summary_of(whole), RunResult.read(whole.folder)
    assert before["timed_steps"] == 3

    repeated = train_command(*SMALL, LAST, run="whole")

    assert "Promise and outcome" in repeated.out
    after = summary_of(repeated)
    kept = ("timed_steps", "step_ms", "timeline_step", "measured_bubble", "stages", "warnings")
    assert [after[name] for name in kept] == [before[name] for name in kept]
    assert RunResult.read(whole.folder).measured == first.measured
    assert (whole.folder / "timeline.png").exists()


def test_a_run_that_is_repeated_with_another_plan_has_no_steps(
    train_command: RunCommand, whole: Ended
) -> None:
    repeated = train_command(*SMALL, "schedule.n_chunks=2", LAST, run="whole")

    summary = summary_of(repeated)
    assert (summary["step_ms"], summary["timed_steps"]) == (None, 0)
    assert RunResult.read(whole.folder).measured is None


def test_a_run_that_is_tested_at_an_earlier_checkpoint_keeps_its_last_one(
    train_command: RunCommand, whole: Ended
) -> None:
    earlier = whole.folder / "checkpoints" / "last.previous.ckpt"

    tested = train_command(*SMALL, "trainer.max_epochs=1", f"ckpt_path={earlier}", run="whole")

    assert "nothing is left to train" in tested.out.replace("\n", " ")
    assert checkpoint_of(tested)["global_step"] == 6
