"""The training command as a process of its own, and how it ends when it cannot go on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from tests.cli.in_process import (
    SMALL,
    RunCommand,
    assert_same_weights,
    checkpoint_of,
    losses_of,
    summary_of,
)

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_run_in_a_process_of_its_own_prints_its_tables_and_fills_its_folder(
    command: Command, tmp_path: Path
) -> None:
    result = command("train", [*SMALL, "hydra.run.dir=run", "placement.device_map=[0,0,1,1]"])

    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    for text in ("cpu:1", "bubble", "repeat last value", "seasonal naive", "Folder of the run"):
        assert text in result.stdout
    folder = tmp_path / "run"
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.yaml", "plan.json", "metrics.csv", "summary.json", "trace.json"}
    assert names >= {"timeline.png", "checkpoints"}
    assert json.loads((folder / "summary.json").read_text())["measured_bubble"] > 0


def test_bad_input_ends_a_process_with_status_2_and_no_traceback(
    command: Command, tmp_path: Path
) -> None:
    result = command("train", ["placement.device_map=cuda:0,cuda:1"])

    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "placement.device_map=[cuda:0,cuda:1]" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_signal_to_all_processes_ends_with_a_checkpoint_from_which_the_run_goes_on(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    settings = [*SMALL, "model.dropout=0.1", "lr_scheduler=cosine", "trainer.max_epochs=30"]
    straight = train_command(*settings, run="straight")

    for number, name, status in (
        (signal.SIGINT, "Ctrl-C", 130),
        (signal.SIGTERM, "SIGTERM", 143),
    ):
        folder = in_tmp_path / number.name
        process = _start([*settings, "data.num_workers=1", f"hydra.run.dir={folder}"], folder)
        try:
            # They come into the file as the run goes on.
            _wait_for_epochs(process, folder.with_suffix(".log"), n_epochs=2)
            # As a terminal and torchrun do.
            os.killpg(process.pid, number)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()

        assert process.returncode == status
        checkpoint = folder / "checkpoints" / "last.ckpt"
        n_steps = torch.load(checkpoint, weights_only=True)["global_step"]
        assert 6 <= n_steps < 90
        assert json.loads((folder / "summary.json").read_text())["steps"] == n_steps
        assert errors.splitlines() == [
            f"gru_parallel: Stopped by {name} after step {n_steps};"
            f" checkpoint written: {checkpoint}",
            f"Resume with ckpt_path={checkpoint}",
        ]
        resumed = train_command(*settings, f"ckpt_path={checkpoint}", run=number.name)
        assert losses_of(resumed) == losses_of(straight)
        assert_same_weights(resumed, straight)


def _start(overrides: Sequence[str], folder: Path) -> "subprocess.Popen[str]":
    """Start to train in a group of processes of its own; what it prints goes into <folder>.log."""
    with folder.with_suffix(".log").open("w") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "gru_parallel.train", *overrides],
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def test_ctrl_c_in_the_test_says_how_to_test_later(train_command: RunCommand) -> None:
    moment = "batch: 5, hook: on_test_batch_start"
    press = f"+callbacks.mine={{_target_: tests.interrupts.SendSignal, {moment}}}"
    checkpoint = "run/checkpoints/last.ckpt"

    ended = train_command(*SMALL, press)

    assert ended.status == 130
    assert ended.err.splitlines() == [
        "gru_parallel: Stopped by Ctrl-C in the test; the training is complete.",
        f"Test it with ckpt_path={ended.folder / 'checkpoints' / 'last.ckpt'}",
    ]
    straight = train_command(*SMALL, run="straight")
    tested = train_command(*SMALL, f"ckpt_path={checkpoint}", run="tested")
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


def test_a_sigterm_in_the_sanity_check_ends_the_program_in_one_line(
    train_command: RunCommand,
) -> None:
    moment = "batch: -1, hook: on_validation_batch_start"
    send = f"+callbacks.mine={{_target_: tests.interrupts.SendSignal, {moment}, name: SIGTERM}}"

    ended = train_command(*SMALL, send, "data.batch_size=16", "trainer.num_sanity_val_steps=2")

    assert ended.status == 143
    assert ended.err == "gru_parallel: Stopped by SIGTERM before the first step.\n"


@pytest.mark.usefixtures("interrupts_raise")
def test_a_second_ctrl_c_ends_the_program_at_once(train_command: RunCommand) -> None:
    press = "+callbacks.mine={_target_: tests.interrupts.SendSignal, batch: 1, times: 2}"

    ended = train_command(*SMALL, press)

    assert ended.status == 130
    assert ended.err == "gru_parallel: Stopped by Ctrl-C.\n"


def _wait_for_epochs(process: "subprocess.Popen[str]", log: Path, n_epochs: int) -> None:
    end = time.monotonic() + 60
    while log.read_text().count("Epoch ") < n_epochs:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_loss_that_is_not_finite_ends_the_run(train_command: RunCommand) -> None:
    ended = train_command(*SMALL, "optimizer=sgd", "optimizer.lr=1e30")

    assert ended.status == 1
    assert "Traceback" not in ended.err
    lines = ended.err.splitlines()
    assert len(lines) == 2
    assert "came from stage 1 (cpu:1, layers 2-3)" in lines[0]
    assert "Last good checkpoint: none." in lines[1]
    assert "optimizer.lr (now 1e+30)" in lines[1]
    summary = summary_of(ended)
    assert summary["ended"] == "failed"
    assert summary["reason"] == lines[0].removeprefix("gru_parallel: ")


def test_a_loss_that_is_not_finite_names_the_checkpoint_that_is_good(
    train_command: RunCommand,
) -> None:
    # After the first epoch the rate is a good deal too high.
    growth = [
        "+lr_scheduler.step_size=1",
        "+lr_scheduler.gamma=1e30",
        "+lr_scheduler.interval=epoch",
    ]
    ended = train_command(
        *SMALL, "optimizer=sgd", "lr_scheduler._target_=torch.optim.lr_scheduler.StepLR", *growth
    )

    assert ended.status == 1
    assert f"Last good checkpoint: {ended.folder / 'checkpoints' / 'last.ckpt'}." in ended.err
    assert checkpoint_of(ended)["global_step"] == 3
    weights = checkpoint_of(ended)["state_dict"].values()
    assert all(weight.isfinite().all() for weight in weights)
