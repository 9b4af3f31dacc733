"""Whoever mistypes a setting is told at once: before torch, Lightning and pandas are imported."""

from collections.abc import Sequence

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
        ["--version"],
        ["--help"],
    )

    assert found == []


def test_a_plan_of_the_built_in_series_needs_torch_alone() -> None:
    assert imports_of(["plan"]) == ["numpy", "torch"]


def test_a_plan_asks_lightning_what_it_alone_knows() -> None:
    """Keeps the tests above honest, and the settings of callbacks and loggers checked."""
    assert "lightning" in imports_of(["plan", "callbacks=early_stopping"], end_at="lightning")
