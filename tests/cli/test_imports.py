"""Whoever mistypes a setting is told at once: before torch, Lightning and pandas are imported."""

import subprocess
import sys

import pytest

from gru_parallel.engine.devices import is_cpu_build

NAMED = "placement.device_map=[cpu:0,cpu:1,cpu:2,cpu:3]"
ELSEWHERE = "placement.device_map={0-1: cpu:0, 2-3: cuda:7}"
SMALL = ["data.n_steps=1000", "schedule=gpipe", "schedule.n_chunks=2", "model.hidden_size=4"]
STREAMS = ["data.order=streams", "data.centre=none", "data.stride=96"]

STEPS: dict[str, list[list[str]]] = {
    "wrong settings and help": [
        ["train", "model.hiden_size=8"],
        ["train", "model.num_layers=0"],
        ["train", "model.h_0=ones"],
        ["train", "schedule=gpip"],
        ["train", "-m", "model.hiden_size=8,16"],
        ["train", "--help"],
        ["train", "--cfg", "job"],
        ["plan", "model.hiden_size=8"],
        ["plan", "data.horizon=0"],
        ["plan", "--help"],
        ["verify", "num_layer=3"],
        ["verify", "num_layers=1"],
        ["verify", "--help"],
        ["evaluate", "chekpoint=last"],
        ["evaluate", "run=x", "engine=proceses"],
        ["evaluate", "--help"],
        ["predict", "cutoffs={a: 1}", "run=x"],
        ["predict", "--help"],
        ["--version"],
        ["--help"],
    ],
    "runs put side by side": [["compare", "--help"], ["compare"], ["compare", "nowhere"]],
    "a search": [
        ["search", "--help"],
        ["search"],
        ["search", "seed=1,2"],
        ["search", "model.hiden_size=1,2"],
    ],
    "a report": [
        ["python -m", "report"],
        ["python -m", "report", "--help"],
        ["python -m", "report", "nowhere"],
    ],
    "an export": [
        ["python -m", "export"],
        ["python -m", "export", "--help"],
        ["python -m", "export", "run=run", "format=pickle"],
    ],
    "a plan of the built-in series": [
        ["plan", ELSEWHERE, *SMALL],
        ["plan", ELSEWHERE, *SMALL, *STREAMS, "model.head=every_step"],
    ],
    "a plan of a file": [["plan", "data=csv", "data.path=series.csv", NAMED, *SMALL[1:]]],
    "a plan of the devices that are here": [["plan", "model.num_layers=2", *SMALL]],
    "a schedule of the rate": [["plan", ELSEWHERE, *SMALL, "lr_scheduler=cosine"]],
    "a callback": [["plan", ELSEWHERE, *SMALL, "callbacks=early_stopping"]],
}
"""What is run in one process, step by step."""

ENDS_AT = {"a schedule of the rate": "torch", "a callback": "lightning"}
"""Libraries at whose import a command ends, which spares it the seconds that takes."""

PROGRAM = """
import contextlib, runpy, sys
from gru_parallel.app.commands import main

ended_at = set()

class End:
    library = None

    def find_spec(name, *_):
        if name == End.library:
            ended_at.add(name)
            sys.exit()

sys.meta_path.insert(0, End)
for step, commands in STEPS.items():
    End.library = ENDS_AT.get(step)
    for name, *arguments in commands:
        with contextlib.suppress(SystemExit):
            if name == "python -m":
                sys.argv = arguments
                runpy.run_module(f"gru_parallel.{arguments[0]}", run_name="__main__")
            else:
                sys.argv = ["gru-parallel", name, *arguments]
                main()
    heavy = ("lightning", "matplotlib", "numpy", "pandas", "torch")
    print(f"{step}:", *sorted({name for name in heavy if name in sys.modules} | ended_at))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The heavy libraries that the process has imported after each step."""
    folder = tmp_path_factory.mktemp("imports")
    rows = "".join(f"{row % 7}.5\n" for row in range(1000))
    (folder / "series.csv").write_text(f"a\n{rows}")
    program = f"STEPS = {STEPS!r}\nENDS_AT = {ENDS_AT!r}\n{PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    said = (line.partition(":") for line in done.stdout.splitlines())
    return {step: names.split() for step, _, names in said if step in STEPS}


@pytest.mark.parametrize(
    "step",
    ["wrong settings and help", "runs put side by side", "a search", "a report", "an export"],
)
def test_a_wrong_line_and_help_need_no_heavy_library(
    step: str, imported: dict[str, list[str]]
) -> None:
    assert imported[step] == []


def test_a_plan_of_the_built_in_series_asks_torch_for_devices_alone(
    imported: dict[str, list[str]],
) -> None:
    assert imported["a plan of the built-in series"] == ["numpy"]
    here = imported["a plan of the devices that are here"]
    assert ("torch" in here) == (not is_cpu_build())
    assert not {"lightning", "matplotlib"} & set(here)


def test_a_plan_of_a_file_needs_pandas_and_no_torch(imported: dict[str, list[str]]) -> None:
    assert imported["a plan of a file"] == ["numpy", "pandas"]


def test_a_plan_asks_torch_what_a_schedule_of_the_rate_does(
    imported: dict[str, list[str]],
) -> None:
    assert "torch" in imported["a schedule of the rate"]


def test_a_plan_asks_lightning_what_it_alone_knows(imported: dict[str, list[str]]) -> None:
    """Keeps the tests above honest, and the settings of callbacks and loggers checked."""
    assert "lightning" in imported["a callback"]
