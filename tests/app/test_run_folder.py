"""A folder that holds a run is not taken for another; one in which none got anywhere is."""

import json
from pathlib import Path

import pytest

from gru_parallel.app.run_folder import check_free, is_of_the_moment, named_folder
from gru_parallel.errors import UsageError


def write(folder: Path, ended: str | None, *, has_checkpoint: bool = False) -> Path:
    """Leave what a run has left; returns its last checkpoint."""
    last = folder / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    if has_checkpoint:
        last.touch()
    if ended is not None:
        (folder / "summary.json").write_text(json.dumps({"ended": ended}))
    return last


@pytest.mark.parametrize("ended", ["completed", "stopped early"])
def test_a_complete_run_holds_its_folder(ended: str, tmp_path: Path) -> None:
    write(tmp_path, ended)

    with pytest.raises(UsageError, match=r"holds a run, .+; choose another folder, or remove it"):
        check_free(tmp_path, None)


@pytest.mark.parametrize("ended", ["interrupted", "failed", None])
def test_any_run_does_from_its_first_checkpoint_on(ended: str | None, tmp_path: Path) -> None:
    last = write(tmp_path, ended, has_checkpoint=True)

    with pytest.raises(UsageError, match=f"resume it with ckpt_path={last}, or remove it"):
        check_free(tmp_path, tmp_path.parent / "other.ckpt")
    check_free(tmp_path, last)


@pytest.mark.parametrize("ended", ["interrupted", "failed", None])
def test_a_run_that_got_to_no_checkpoint_may_begin_anew(ended: str | None, tmp_path: Path) -> None:
    # As a launcher does that starts its ranks again, and SLURM that queues a job again.
    write(tmp_path, ended)

    check_free(tmp_path, None)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_summary_that_says_nothing_is_no_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(text)

    if text == "{}":
        with pytest.raises(UsageError, match="holds a run"):
            check_free(tmp_path, None)
    else:
        check_free(tmp_path, None)


def test_the_folder_of_a_run_is_known_before_it() -> None:
    assert named_folder(["seed=3", "hydra.run.dir=a/${seed}"]) == Path("a/3")
    assert named_folder(["seed=1,2", "hydra.sweep.dir=b"], sweep=True) == Path("b")
    assert named_folder(["seed=3", "++hydra.run.dir=a"]) == Path("a")
    assert named_folder(["seed=3"]) is None
    # It has the time of its start in its name.
    assert named_folder(["seed=3", "hydra.job.chdir=true"]) is None
    # Hydra numbers the runs of a sweep.
    assert named_folder(["hydra.run.dir=a/${hydra.job.num}"]) is None


def test_an_experiment_may_name_the_folder_of_a_run(tmp_path: Path) -> None:
    experiment = tmp_path / "experiment" / "mine.yaml"
    experiment.parent.mkdir()
    experiment.write_text("# @package _global_\nhydra:\n  run:\n    dir: a/${seed}\n")
    overrides = [f"hydra.searchpath=[{tmp_path}]", "experiment=mine", "seed=3"]

    assert named_folder(overrides) == Path("a/3")
    assert not is_of_the_moment(overrides)
    assert is_of_the_moment([*overrides, "hydra.run.dir=a/${now:%S}"])


@pytest.mark.parametrize("value", ["", "' '"])
def test_an_empty_folder_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match=r"hydra\.run\.dir= is empty"):
        named_folder([f"hydra.run.dir={value}"])
