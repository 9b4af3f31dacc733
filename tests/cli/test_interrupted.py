"""How a run that is interrupted ends, from the command line, and goes on."""

import errno
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from gru_parallel.app import commands
from gru_parallel.training.metrics_file import MetricsFile
from tests.cli.in_process import (
    SMALL,
    Ended,
    RunCommand,
    assert_same_weights,
    checkpoint_of,
    losses_of,
    summary_of,
)
from tests.forked_ranks import POLL_S, ForkedRank, wait_for_all

WITHIN_S = 60.0
WAIT = "+callbacks.harm={_target_: tests.cli.harm.Wait, rank: 0, batch: 11}"


def train_in_a_group(arguments: Sequence[str]) -> None:
    """Train as the first of a group of processes."""
    os.setsid()
    # So that it may have processes that load data, and starts them as a program does.
    multiprocessing.current_process().daemon = False
    multiprocessing.set_start_method("fork", force=True)
    # Python leaves it out in background processes.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(commands.run("train", arguments))


def test_a_signal_to_all_processes_ends_with_a_checkpoint_from_which_the_run_goes_on(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    settings = [*SMALL, "model.dropout=0.1", "lr_scheduler=cosine"]
    # The step under way, the first of the second epoch, needs batches that are not loaded yet.
    settings += ["data.batch_size=16", "trainer.accumulate_grad_batches=5"]
    work = partial(train_in_a_group, [*settings, "data.num_workers=1", "hydra.run.dir=run", WAIT])
    names = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
    processes = {}
    for number in names:
        (in_tmp_path / number.name).mkdir()
        processes[number] = ForkedRank(os.environ, work, in_tmp_path / number.name)
    straight = train_command(*settings, run="straight")

    try:
        for number, process in processes.items():
            waits = in_tmp_path / number.name / "waits"
            wait_for(waits, process)
            # As a terminal and torchrun do.
            process.signal(number, to_its_group=True)
            waits.unlink()
        assert wait_for_all(list(processes.values()), time.monotonic() + WITHIN_S)
    finally:
        statuses = {number: process.kill() for number, process in processes.items()}

    for number, name in names.items():
        assert statuses[number] == 128 + number
        folder = in_tmp_path / number.name / "run"
        checkpoint = folder / "checkpoints" / "last.ckpt"
        ended = Ended(statuses[number], "", "", folder)
        n_steps = checkpoint_of(ended)["global_step"]
        assert n_steps == 4
        assert summary_of(ended)["steps"] == n_steps
        assert (folder.parent / "err").read_text().splitlines() == [
            f"gru_parallel: Stopped by {name} after step {n_steps};"
            f" checkpoint written: {checkpoint}",
            f"Resume with ckpt_path={checkpoint}",
        ]
        resumed = train_command(*settings, f"ckpt_path={checkpoint}", run=f"{number.name}/run")
        assert losses_of(resumed) == losses_of(straight)
        assert_same_weights(resumed, straight)


def wait_for(path: Path, process: ForkedRank) -> None:
    end = time.monotonic() + WITHIN_S
    while not path.exists():
        assert process.poll() is None, (path.parent / "err").read_text()
        assert time.monotonic() < end
        time.sleep(POLL_S)


def test_ctrl_c_in_the_test_says_how_to_test_later(train_command: RunCommand) -> None:
    settings = [*SMALL, "trainer.max_epochs=1"]
    moment = "batch: 2, hook: on_test_batch_start"
    press = f"+callbacks.mine={{_target_: tests.interrupts.SendSignal, {moment}}}"
    checkpoint = "run/checkpoints/last.ckpt"

    ended = train_command(*settings, press)

    assert ended.status == 130
    assert ended.err.splitlines() == [
        "gru_parallel: Stopped by Ctrl-C in the test; the training is complete.",
        f"Test it with ckpt_path={ended.folder / 'checkpoints' / 'last.ckpt'}",
    ]
    straight = train_command(*settings, run="straight")
    tested = train_command(*settings, f"ckpt_path={checkpoint}", run="tested")
    assert summary_of(tested)["test_metrics"] == summary_of(straight)["test_metrics"]


def test_a_run_interrupted_in_a_validation_has_the_same_best_model_in_the_end(
    train_command: RunCommand,
) -> None:
    settings = [*SMALL, "trainer.max_epochs=3", "optimizer=sgd", "optimizer.lr=5"]
    moment = "batch: 5, hook: on_validation_batch_start"
    press = f"+callbacks.mine={{_target_: tests.interrupts.SendSignal, {moment}}}"

    broken = train_command(*settings, press)
    resumed = train_command(*settings, "ckpt_path=run/checkpoints/last.ckpt", run="resumed")

    assert broken.status == 130
    assert checkpoint_of(broken)["global_step"] == 6
    straight = train_command(*settings, run="straight")
    assert summary_of(resumed)["test_metrics"] == summary_of(straight)["test_metrics"]
    assert_same_weights(resumed, straight)


def test_a_disk_that_takes_no_more_ends_the_program_in_one_line(
    train_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run/metrics.csv")

    monkeypatch.setattr(MetricsFile, "_write", is_full)

    ended = train_command(*SMALL)
    of_sweep = train_command(*SMALL, "seed=0,1", "hydra.sweep.dir=sweep", flags=("-m",))

    assert ended.status == of_sweep.status == 1
    (line,) = ended.err.splitlines()
    assert "cannot write run/metrics.csv (No space left on device); make room" in line
    assert line.endswith("resume it with ckpt_path=last and its hydra.run.dir.")
    last = of_sweep.err.splitlines()[-1]
    assert last.endswith("the same command with ckpt_path=last and its hydra.sweep.dir.")
