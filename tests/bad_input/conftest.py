"""The commands inside this process, beside the good files that tries may name."""

from functools import partial
from pathlib import Path

import pytest

from tests.bad_input.files import as_csv, good_rows
from tests.bad_input.settings import FILE, PLAN
from tests.bad_input.tries import Commands
from tests.bad_input.use import SCHEMA_OF
from tests.builders import make_plan
from tests.cli.finished import OF_FILE, finish_run
from tests.cli.in_process import commands


@pytest.fixture
def all_commands(
    in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    """Every command by name, run in a folder that holds a good series and a good plan."""
    (in_tmp_path / FILE).write_bytes(as_csv(good_rows(200)))
    (in_tmp_path / PLAN).write_text(make_plan([2, 2], n_chunks=4).to_json())
    train, plan, verify, use = commands(in_tmp_path, monkeypatch, capsys)
    of_a_run = {name: partial(use, name) for name in SCHEMA_OF}
    return {"train": train, "plan": plan, "verify": verify, **of_a_run}


@pytest.fixture
def finished_run(all_commands: Commands) -> Path:
    """The folder of a run that has ended, and beside it series.csv, which it was trained on."""
    return finish_run(all_commands["train"], *OF_FILE)
