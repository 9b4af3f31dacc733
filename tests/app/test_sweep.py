"""What a sweep says of its runs, before each of them and at its end."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

from gru_parallel.app.sweep import Sweep
from gru_parallel.config.for_hydra import for_hydra
from gru_parallel.config.overrides import compose_with_hydra
from gru_parallel.errors import UsageError
from tests.cli.many_runs import leave_run


@pytest.fixture(autouse=True)
def _the_job_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)


def _begin(sweep: Sweep, number: int, overrides: Sequence[str], folder: Path) -> None:
    """Begin a run, as Hydra would."""
    composed = compose_with_hydra([*overrides, f"hydra.job.num={number}"])
    HydraConfig.instance().set_config(composed)
    sweep.begin(folder, folder.parent)


def test_a_run_that_is_refused_for_its_folder_leaves_the_others_in_the_table(
    in_tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = Sweep({"seed": 2, "model.num_layers": 2})
    runs = [(1, 2, "a"), (2, 2, "b"), (1, 3, "a")]
    for number, (seed, n_layers, name) in enumerate(runs):
        given = [f"seed={seed}", f"model.num_layers={n_layers}"]
        _begin(sweep, number, given, Path("sweep", name))
        if number < 2:
            leave_run(Path("sweep", name), {"seed": seed, "model": {"loss": "mse"}})
    sweep.note(UsageError("hydra.sweep.dir=sweep/a holds a run"))

    assert sweep.show() == 0

    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("Not in the table")] == [
        "Not in the table: sweep/a (seed=1, model.num_layers=3): hydra.sweep.dir=sweep/a holds a"
        " run"
    ]
    assert "sweep/a sweep/b" in Path("sweep/comparison.csv").read_text()


def test_a_heading_has_what_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    given = for_hydra(["seed=3", "placement.device_map=[0,0,1,1]"])

    _begin(Sweep({"placement.device_map": 2}), 0, given, Path("sweep", "0"))

    assert capsys.readouterr().out == "\n=== Run 1 of 2: placement.device_map=[0,0,1,1] ===\n"
