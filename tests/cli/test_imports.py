"""Whoever mistypes a setting is told at once: before torch, Lightning and pandas are imported."""

from collections.abc import Sequence
from pathlib import Path

from gru_parallel.engine.devices import is_cpu_build
from tests.imports import heavy_imports


def imports_of(*commands: Sequence[str], end_at: str | None = None) -> list[str]:
    """Return the heavy libraries that commands, run in one process, have imported."""
    return heavy_imports(
        f"""
import contextlib, sys
from gru_parallel.app.commands import main

for command in {commands}:
    sys.argv = ["gru-parallel", *command]
    with contextlib.suppress(SystemExit):
        main()
""",
        end_at,
    )


def test_a_wrong_setting_and_help_need_no_heavy_library() -> None:
    found = imports_of(
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
    )

    assert found == []


def test_a_plan_of_the_built_in_series_asks_torch_for_devices_alone() -> None:
    named = "placement.device_map={0-1: cpu:0, 2-3: cuda:7}"
    streams = ["data.order=streams", "data.centre=none", "data.stride=96"]

    assert imports_of(["plan", named], ["plan", named, *streams, "model.head=every_step"]) == [
        "numpy"
    ]
    assert imports_of(["plan"]) == (["numpy"] if is_cpu_build() else ["numpy", "torch"])


def test_a_plan_of_a_file_needs_pandas_and_no_torch(tmp_path: Path) -> None:
    file = tmp_path / "series.csv"
    file.write_text("a\n" + "".join(f"{row % 7}.5\n" for row in range(1000)))
    named = "placement.device_map=[cpu:0,cpu:1,cpu:2,cpu:3]"

    assert imports_of(["plan", "data=csv", f"data.path={file}", named]) == ["numpy", "pandas"]


def test_a_plan_asks_torch_what_a_schedule_of_the_rate_does() -> None:
    assert "torch" in imports_of(["plan", "lr_scheduler=cosine"], end_at="torch")


def test_a_plan_asks_lightning_what_it_alone_knows() -> None:
    """Keeps the tests above honest, and the settings of callbacks and loggers checked."""
    assert "lightning" in imports_of(["plan", "callbacks=early_stopping"], end_at="lightning")
