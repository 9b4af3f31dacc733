"""A sweep that would write into the folders of other runs is refused before Hydra writes."""

from pathlib import Path

import pytest

from gru_parallel.app.sweep_folders import check_sweep_free
from gru_parallel.errors import UsageError

BY_SEED = "hydra.sweep.subdir=seed_${seed}"


@pytest.fixture(autouse=True)
def _a_run(in_tmp_path: Path) -> None:
    for name in ("m/1", "m/seed_1"):
        checkpoint = in_tmp_path / name / "checkpoints" / "last.ckpt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()
        (in_tmp_path / name / "config.yaml").touch()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["seed=5,6", "hydra.sweep.dir=m"], "m/1, where a run of this sweep would be, holds a run"),
        (["seed=1", "hydra.sweep.dir=m"], None),
        (["seed=5,6", "hydra.sweep.dir=m", "ckpt_path=last"], None),
        (["seed=5,6", "hydra.sweep.dir=other"], None),
        (["seed=5,6"], None),
        (
            ["seed=0,1", "hydra.sweep.dir=m", BY_SEED],
            "m/seed_1, where a run of this sweep would be, holds a run",
        ),
        (["seed=5,6", "hydra.sweep.dir=m", BY_SEED], None),
        (
            ["seed=0,1", "hydra.sweep.dir=m", BY_SEED, "ckpt_path=m/seed_1/checkpoints/last.ckpt"],
            None,
        ),
        (["seed=5,6", "hydra.sweep.dir=m/seed_${seed}", "hydra.sweep.subdir=."], None),
        (
            ["seed=5,1", "hydra.sweep.dir=m/seed_${seed}", "hydra.sweep.subdir=."],
            "m/seed_1, where a run of this sweep would be, holds",
        ),
        (
            ["model.num_layers=1,2", "seed=5,6", "hydra.sweep.dir=m", BY_SEED],
            "m/seed_5 is the folder of runs 1 and 3 of this sweep",
        ),
    ],
)
def test_the_folder_of_each_run_is_looked_at(overrides: list[str], said: str | None) -> None:
    if said is None:
        check_sweep_free(overrides, counts=True)
        return
    with pytest.raises(UsageError) as refused:
        check_sweep_free(overrides, counts=True)
    assert said in str(refused.value)


def test_where_the_runs_are_not_known_no_run_may_be_in_the_folder() -> None:
    found = r"hydra\.sweep\.dir=m holds runs, m/1 for one"
    with pytest.raises(UsageError, match=found):
        check_sweep_free(["seed=5", "hydra.sweep.dir=m"], counts=False)
    only_in_a_run = ["seed=5,6", "hydra.sweep.dir=m", "hydra.sweep.subdir=${hydra:job.num}"]
    with pytest.raises(UsageError, match=found):
        check_sweep_free(only_in_a_run, counts=True)
    check_sweep_free(["seed=5", "hydra.sweep.dir=m", "ckpt_path=last"], counts=False)
    check_sweep_free(["seed=5", "hydra.sweep.dir=other"], counts=False)
