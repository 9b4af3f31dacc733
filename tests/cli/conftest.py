"""Runs the commands, as processes of their own or inside this one, on small series."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.cli.in_process import RunCommand, commands


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python -m gru_parallel.<program>` in an empty folder, as a user would."""

    def run(program: str, overrides: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"gru_parallel.{program}", *overrides],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.fixture
def train_command(
    in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> RunCommand:
    """`python -m gru_parallel.train` inside this process, in an empty folder."""
    return commands(in_tmp_path, monkeypatch, capsys)[0]


@pytest.fixture
def plan_command(
    in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> RunCommand:
    """`python -m gru_parallel.plan` inside this process, in an empty folder."""
    return commands(in_tmp_path, monkeypatch, capsys)[1]


@pytest.fixture
def verify_command(
    in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> RunCommand:
    """`python -m gru_parallel.verify` inside this process, in an empty folder."""
    return commands(in_tmp_path, monkeypatch, capsys)[2]


@pytest.fixture
def use_command(
    in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> RunCommand:
    """A command that uses a finished run, by its name, inside this process in an empty folder."""
    return commands(in_tmp_path, monkeypatch, capsys)[3]
