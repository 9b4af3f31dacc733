"""`gru-parallel` runs any of the commands, and `--version` and `--help` say what there is."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from gru_parallel.app import commands
from gru_parallel.version import __version__


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["gru-parallel", *arguments])
    status = commands.main()
    return status, *capsys.readouterr()


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",)])
def test_help_names_every_command(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(monkeypatch, capsys, *arguments)

    assert status == 0
    assert [
        line.split(" ")[0] for line in out.splitlines()[2 : 2 + len(commands.COMMANDS)]
    ] == list(commands.COMMANDS)


@pytest.mark.parametrize(
    "arguments", [("--version",), ("train", "--version"), ("plan", "--version")]
)
def test_the_version_is_said(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, capsys, *arguments) == (0, f"gru_parallel {__version__}\n", "")


def test_a_mistyped_command_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(monkeypatch, capsys, "trian")

    assert (status, out) == (2, "")
    assert "trian is not a command; did you mean train?" in err


def test_a_command_gets_its_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], in_tmp_path: Path
) -> None:
    status, out, _ = run(monkeypatch, capsys, "plan", "model.num_layers=3", "schedule=gpipe")

    assert status == 0
    assert "schedule: gpipe" in out


@pytest.mark.parametrize(
    ("module", "command"),
    [("verify", ["verify"]), ("plan", ["plan"]), ("report", ["report", "run"])],
)
def test_ctrl_c_ends_a_command_in_one_line(
    module: str,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def press(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module(f"gru_parallel.app.{module}"), "show", press)

    assert run(monkeypatch, capsys, *command) == (130, "", "gru_parallel: Stopped by Ctrl-C.\n")


def test_who_reads_only_the_beginning_of_a_help_text_gets_no_error() -> None:
    command = [sys.executable, "-m", "gru_parallel.train", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()

    assert (process.returncode, said) == (0, b"")


def test_every_command_keeps_the_memory_that_steps_free(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(commands, "keep_freed_memory", lambda: asked.append(True))

    commands.run("plan", ["--help"])

    assert asked


def test_intra_op_threads_sleep_where_nobody_said_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    commands.run("plan", ["--help"])
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"

    monkeypatch.delenv("OMP_WAIT_POLICY")
    commands.run("plan", ["--help"])
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
