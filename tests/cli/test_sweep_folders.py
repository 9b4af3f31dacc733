"""A sweep that is refused for the folder that it names leaves all there as it was."""

from pathlib import Path

from tests.cli.in_process import SMALL, RunCommand, assert_refused

QUICK = (*SMALL, "trainer.max_epochs=1", "trainer.limit_test_batches=0")


def test_a_sweep_into_the_folder_of_another_leaves_the_runs_there_alone(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    sweep = ["model.hidden_size=4", "hydra.sweep.dir=sweep"]
    train_command(*QUICK, *sweep, flags=("-m",))
    before = _times_of(in_tmp_path / "sweep")

    ended = train_command(*QUICK, "seed=1,2", *sweep, flags=("-m",))

    # Nor has Hydra written the settings of the runs that were refused.
    assert_refused(
        ended, ["sweep/0, where a run of this sweep would be, holds a run", "ckpt_path=last"]
    )
    assert _times_of(in_tmp_path / "sweep") == before


def _times_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
