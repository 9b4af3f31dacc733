"""The training command as a process of its own, and how it ends when it cannot go on."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.cli.in_process import SMALL, RunCommand, checkpoint_of, summary_of

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_run_in_a_process_of_its_own_prints_its_tables_and_fills_its_folder(
    command: Command, tmp_path: Path
) -> None:
    result = command(
        "train",
        [*SMALL, "trainer.max_epochs=1", "hydra.run.dir=run", "placement.device_map=[0,0,1,1]"],
    )

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


def test_a_loss_that_is_not_finite_ends_the_run(train_command: RunCommand) -> None:
    ended = train_command(*SMALL, "optimizer=sgd", "optimizer.lr=1e30")

    assert ended.status == 1
    assert "Traceback" not in ended.err
    lines = ended.err.splitlines()
    assert len(lines) == 2
    stages = r"0 \(cpu:0, layers 0-1\)|1 \(cpu:1, layers 2-3\)"
    assert re.search(f"came from stage ({stages})", lines[0])
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
