"""`export` writes the model of a run from its folder alone, wherever that is."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gru_parallel.app import commands
from gru_parallel.app import export as heavy
from tests.cli.in_process import SMALL, RunCommand

ExportCommand = Callable[..., tuple[int, str, str]]


@pytest.fixture
def export_command(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> ExportCommand:
    """`python -m gru_parallel.export` inside this process, in an empty folder."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return commands.run("export", arguments), *capsys.readouterr()

    return run


def test_a_run_that_was_moved_is_exported_and_forecasts(
    train_command: RunCommand, export_command: ExportCommand
) -> None:
    assert train_command(*SMALL, "trainer.max_epochs=1").status == 0
    Path("run").rename("moved")

    status, out, err = export_command("run=moved", "format=torch")

    assert (status, err) == (0, "")
    read, written, compared = out.splitlines()
    assert read == "Uses the weights of moved/checkpoints/best.ckpt, epoch 0."
    assert written == "Written to moved/export: load_pt.py, model.pt, model.pt.json"
    assert compared.startswith(f"Read back with torch {torch.__version__} and compared with the")
    assert compared.endswith(" of the largest entry off, and 1.0e-05 is allowed")
    about = json.loads(Path("moved/export/model.pt.json").read_text())
    assert (about["input_length"], about["horizon"], about["centre"]) == (8, 2, "last")
    forecast = runpy.run_path("moved/export/load_pt.py")["forecast"]
    assert forecast(torch.tensor(about["mean"]).expand(3, 8, -1)).shape == (3, 2, 4)
    check_ten_lines_load(Path("moved/export/load_pt.py"))


def check_ten_lines_load(script: Path) -> None:
    """Check that the lines before the scaling make plain modules, and load the weights."""
    lines = script.read_text().partition("# What brings")[0].split('"""')[2].splitlines()
    code = [line for line in lines if line and not line.startswith("#")]
    found: dict[str, Any] = {"__file__": str(script)}
    exec("\n".join(code), found)

    assert len(code) == 10
    assert isinstance(found["model"]["gru"], nn.GRU)
    weights = torch.load(script.with_name("model.pt"), weights_only=True)
    assert found["model"].state_dict().keys() == weights.keys()


BAD = {
    "nothing": ((), "format, run are not given"),
    "no format": (("run=run",), "format is not given, without a default; give it, as in format="),
    "an unknown format": (("run=run", "format=tflite"), "use one of torch, safetensors, torch_exp"),
    "a mistyped key": (("run=run", "fromat=onnx"), "did you mean format?"),
    "no such folder": (("run=nowhere", "format=torch"), "run=nowhere does not exist (looked in"),
    "scaled weights": (("run=run", "format=torch", "scaling=true"), "format=torch_export or onnx"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_setting_that_cannot_work_is_refused(name: str, export_command: ExportCommand) -> None:
    arguments, words = BAD[name]

    status, out, err = export_command(*arguments)

    assert (status, out) == (2, "")
    assert err.startswith("gru_parallel: ")
    assert err.count("\n") == 1
    assert words in err
    assert list(Path.cwd().iterdir()) == []


def test_packages_of_the_extra_that_are_not_there_are_named(
    export_command: ExportCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heavy, "find_spec", lambda _: None)

    status, _, err = export_command("run=run", "format=onnx")

    assert status == 2
    assert "needs onnx and onnxruntime; install them: pip install 'gru-parallel[onnx]'" in err


def test_help_says_what_an_export_needs(export_command: ExportCommand) -> None:
    status, out, _ = export_command("--help")

    assert status == 0
    assert out.startswith("gru-parallel export run=DIR format=FORMAT [setting=value ...]")
