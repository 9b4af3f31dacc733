"""The plan command: prints, needs no GPU, and leaves a plan that a run can take."""

import errno
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gru_parallel.app import plan
from tests.cli.in_process import SMALL, RunCommand

SHORT = ("model.num_layers=2", "data.input_length=8")
"""Few layers and steps, among whose plans a search is short."""

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_plan_may_name_gpus_that_do_not_exist(plan_command: RunCommand) -> None:
    ended = plan_command("placement.device_map={0-1: cuda:6, 2-3: cuda:7}")

    assert ended.status == 0, ended.err
    for text in ("cuda:6", "cuda:7", "0-1", "2-3", "predicted", "bubble"):
        assert text in ended.out
    assert [path.name for path in ended.folder.iterdir()] == ["plan.json"]


def test_training_on_them_is_refused(train_command: RunCommand) -> None:
    """Keeps the test above honest: these GPUs do not exist here."""
    ended = train_command("placement.device_map={0-1: cuda:6, 2-3: cuda:7}")

    assert ended.status == 2
    assert "cuda:6" in ended.err


def test_a_plan_of_ranks_says_which_engine_takes_it(plan_command: RunCommand) -> None:
    ended = plan_command("engine=processes", "engine.data_parallel=2", *SHORT)

    assert ended.status == 0, ended.err
    assert "placement.path=plan.json engine=processes engine.data_parallel=2" in ended.out


def test_the_planner_can_be_asked_for_by_name(plan_command: RunCommand) -> None:
    named, left_out = plan_command("placement.device_map=auto", *SHORT), plan_command(*SHORT)

    assert named.status == 0, named.err
    assert named.out == left_out.out


def test_the_two_devices_of_a_block_may_be_numbers(plan_command: RunCommand) -> None:
    settings = ["model.bidirectional=[true,false,false,true]", "schedule=gpipe"]

    by_number = plan_command(*settings, "placement.device_map=[0+1,2,2,3+4]")
    by_name = plan_command(*settings, "placement.device_map=[cpu:0+cpu:1,cpu:2,cpu:2,cpu:3+cpu:4]")

    assert by_number.status == 0, by_number.err
    assert by_number.out == by_name.out


def test_a_plan_shows_the_settings_it_was_made_with(plan_command: RunCommand) -> None:
    small, large = (
        plan_command(f"model.hidden_size={size}", "schedule=gpipe", "schedule.n_chunks=4")
        for size in (16, 64)
    )

    assert "schedule: gpipe, 1 micro-batch x 4 chunks" in small.out
    assert small.out != large.out


@pytest.mark.parametrize(
    ("settings", "core"),
    [
        ([], "core: fused"),
        (["model.core=lean"], "core: lean"),
        (["placement.device_map={0-1: cuda:0, 2-3: cuda:1}"], "core: native"),
        (["placement.device_map={0-1: cpu:0, 2-3: cuda:1}"], "core: fused on cpu, native on cuda"),
    ],
)
def test_a_plan_shows_the_core(settings: list[str], core: str, plan_command: RunCommand) -> None:
    ended = plan_command("schedule=gpipe", "schedule.n_chunks=4", *settings)

    assert core in ended.out, ended.err


def test_dropout_costs_memory_for_masks_and_for_what_is_dropped(plan_command: RunCommand) -> None:
    settings = ["model.core=lean", "placement.device_map=[0,0,1,1]"]
    memory = {
        dropout: plan_command(*settings, f"model.dropout={dropout}").out.split("all ")[1]
        for dropout in (0.0, 0.5)
    }

    assert memory[0.0].split("predicted")[0] != memory[0.5].split("predicted")[0]


def test_w_on_a_gpu_needs_a_core_that_leaves_it_work(plan_command: RunCommand) -> None:
    settings = ["schedule=zero_bubble", "placement.device_map={0-1: cuda:0, 2-3: cuda:1}"]

    refused, accepted = plan_command(*settings), plan_command(*settings, "model.core=lean")

    assert refused.status == 2
    assert "model.core=auto, native on cuda:0, cannot; use model.core=fused" in refused.err
    assert accepted.status == 0, accepted.err


@pytest.mark.parametrize(
    ("settings", "n_chunks"),
    [
        (["data.input_length=1"], "1 chunk"),
        (["placement.device_map=[cuda:0,cuda:0,cuda:0,cuda:0]"], "1 chunk"),
        (["placement.device_map={0-1: cuda:0, 2-3: cuda:1}", "schedule.truncate=2"], "8 chunks"),
    ],
)
def test_the_plan_chooses_the_chunks(
    settings: list[str], n_chunks: str, plan_command: RunCommand
) -> None:
    ended = plan_command("data.input_length=32", "schedule.n_chunks=auto", *settings)

    assert ended.status == 0, ended.err
    assert re.search(rf"1 micro-batch x {n_chunks}\b", ended.out)


def test_a_plan_says_what_is_next_to_it_and_what_more_devices_bring(
    plan_command: RunCommand,
) -> None:
    ended = plan_command("cluster=8xh100", "model.hidden_size=512", "model.num_layers=8")

    assert ended.status == 0, ended.err
    for text in ("Alternatives", "slower by", "By number of devices", "plans simulated"):
        assert text in ended.out
    assert "times of layers: analytic" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100


def test_a_model_too_small_to_be_split_is_said_to_be(plan_command: RunCommand) -> None:
    ended = plan_command("cluster=8xh100", "model.num_layers=2", "data.input_length=3")

    assert "Do not split this model" in ended.out, ended.out


def test_what_fits_nowhere_is_said(plan_command: RunCommand) -> None:
    ended = plan_command("cluster=4xa100", "model.hidden_size=131072", *SHORT)

    said = " ".join(ended.out.split())
    assert ended.status == 0, ended.err
    assert "does not fit: " in said
    assert "are missing; use " in said


def test_another_file_of_that_name_is_not_replaced(
    plan_command: RunCommand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.json").write_text("mine", encoding="utf-8")

    refused = plan_command()

    assert refused.status == 2
    assert "plan.json is not a plan, and the plan would be written there" in refused.err
    assert (tmp_path / "plan.json").read_text(encoding="utf-8") == "mine"


def test_a_plan_that_cannot_be_written_is_shown_and_is_an_error(
    plan_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(text: str, path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(plan, "write_text", write)

    ended = plan_command(*SHORT, "placement.device_map=[0,0]")

    assert "bubble" in ended.out
    assert (ended.status, ended.err) == (
        1,
        "gru_parallel: plan.json could not be written (Read-only file system); make room or plan"
        " in another folder.\n",
    )


def test_a_run_takes_the_plan_that_was_written(
    plan_command: RunCommand, train_command: RunCommand
) -> None:
    settings = [s for s in SMALL if "n_chunks" not in s]
    planned = plan_command(*settings, "placement.device_map=[0,1,1,1]", "schedule.n_chunks=3")
    path = planned.folder / "plan.json"

    one_step = "trainer.fast_dev_run=true"
    ended = train_command(*settings, one_step, "placement=file", f"placement.path={path}")

    assert ended.status == 0, ended.err
    assert (ended.folder / "plan.json").read_text() == path.read_text()
    assert "1 micro-batch x 3 chunks" in ended.out


def test_planning_as_a_process_of_its_own(command: Command, tmp_path: Path) -> None:
    result = command("plan", ["placement.device_map=[cuda:0,cuda:1]", *SHORT])

    assert result.returncode == 0, result.stderr
    assert "cuda:1" in result.stdout
    assert result.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_says_what_the_command_does(flag: str, plan_command: RunCommand) -> None:
    ended = plan_command(flag)

    assert ended.status == 0
    assert ended.out.startswith("gru-parallel plan [setting=value ...]")


def test_help_of_training_names_the_command_and_its_settings(
    train_command: RunCommand, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Hydra ends it, as it would a process.
    with pytest.raises(SystemExit) as ended:
        train_command(flags=("--help",))

    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert "gru-parallel train" in out
    assert "input_length: 48" in out
    assert Path(out.splitlines()[0].rpartition(" ")[2]).is_file()
    assert list(in_tmp_path.iterdir()) == []
