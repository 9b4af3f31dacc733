"""A resumed run keeps the best model so far, and names its own checkpoints alone."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from gru_parallel.ranks import Launch, join
from gru_parallel.run_folder import part_of
from gru_parallel.training.best_and_last import (
    BestCheckpoint,
    LastCheckpoint,
    best_validation,
    written_checkpoints,
)
from gru_parallel.training.checkpoint_file import read_checkpoint
from gru_parallel.training.checkpoint_folder import write_folder
from gru_parallel.training.in_place import copy_whole
from tests.builders import make_plan
from tests.rank_processes import free_port
from tests.runs import N_BATCHES, Run, fit, make_data, make_module, sgd

PLAN = make_plan([1, 1])
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


def train(folder: Path, max_epochs: int, **options: Any) -> Run:
    """Train at a rate with which the loss goes down, and up again."""
    callbacks = [BestCheckpoint(folder / "best.ckpt"), LastCheckpoint(folder / "last.ckpt")]
    module = make_module(lambda parameters: sgd(parameters, lr=1.0), num_layers=2)
    return fit(
        PLAN,
        module,
        callbacks=callbacks,
        max_epochs=max_epochs,
        enable_checkpointing=True,
        **options,
    )


def step_of(path: Path) -> int:
    step: int = torch.load(path, weights_only=True)["global_step"]
    return step


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four epochs, the best of which is neither the first nor the last."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder, 4)
    assert N_BATCHES < step_of(folder / "best.ckpt") < 4 * N_BATCHES
    return folder


def n_best(whole: Path) -> int:
    return step_of(whole / "best.ckpt") // N_BATCHES


def test_the_best_of_the_earlier_run_comes_into_the_new_folder(whole: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    train(old, n_best(whole))

    run = train(new, 4, ckpt_path=old / "last.ckpt")

    assert step_of(new / "best.ckpt") == step_of(whole / "best.ckpt")
    assert written_checkpoints(run.trainer) == (str(new / "best.ckpt"), str(new / "last.ckpt"))


@pytest.mark.parametrize("case", ["resumed elsewhere", "killed before its last", "not resumed"])
def test_the_epoch_of_the_best_one_is_known_without_its_file(
    case: str, whole: Path, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    if case == "resumed elsewhere":
        train(old, n_best(whole))
        run = train(new, 4, ckpt_path=old / "last.ckpt")
    elif case == "killed before its last":
        train(new, n_best(whole) - 1)
        shutil.copyfile(whole / "best.ckpt", new / "best.ckpt")
        run = train(new, n_best(whole), ckpt_path=new / "last.ckpt")
    else:
        run = train(new, 4)
    saved = torch.load(new / "best.ckpt", weights_only=True)
    (new / "best.ckpt").unlink()

    best = best_validation(run.trainer)

    assert best is not None
    assert best[1] == saved["epoch"] == n_best(whole) - 1


def test_a_rank_that_writes_nothing_knows_the_epoch_too(whole: Path, tmp_path: Path) -> None:
    checkpoint = BestCheckpoint(tmp_path / "best.ckpt")
    saved = torch.load(whole / "best.ckpt", weights_only=True)

    state = saved["callbacks"][checkpoint.state_key]
    first = BestCheckpoint(whole / "best.ckpt")
    checkpoint._resume(whole / "last.ckpt", first._find(whole / "last.ckpt", state))

    assert checkpoint.validation == (float(state["best_model_score"]), saved["epoch"])
    assert not checkpoint.path.exists()


def test_a_better_one_takes_its_place(whole: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    train(old, n_best(whole) - 1)

    train(new, 4, ckpt_path=old / "last.ckpt")

    assert step_of(new / "best.ckpt") == step_of(whole / "best.ckpt")
    assert step_of(old / "best.ckpt") < step_of(whole / "best.ckpt")


def test_it_is_found_in_a_folder_that_was_moved(whole: Path, tmp_path: Path) -> None:
    train(tmp_path / "old", n_best(whole))
    shutil.move(tmp_path / "old", tmp_path / "moved")

    train(tmp_path / "moved", 4, ckpt_path=tmp_path / "moved" / "last.ckpt")

    assert step_of(tmp_path / "moved" / "best.ckpt") == step_of(whole / "best.ckpt")


@pytest.mark.parametrize("fate", ["deleted", "overwritten"])
def test_a_best_one_that_is_gone_is_said_to_be(fate: str, whole: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    train(old, n_best(whole))
    if fate == "deleted":
        (old / "best.ckpt").unlink()
    else:
        shutil.copyfile(tmp_path / "old" / "last.ckpt", tmp_path / "last.ckpt")
        train(old, 1)

    start = old / "last.ckpt" if fate == "deleted" else tmp_path / "last.ckpt"
    with pytest.warns(UserWarning, match=f"no longer in {old / 'best.ckpt'}; best.ckpt and"):
        train(new, 4, ckpt_path=start)

    assert step_of(new / "best.ckpt") > n_best(whole) * N_BATCHES


def test_a_run_that_was_killed_between_its_best_and_its_last_one_keeps_the_best(
    whole: Path, tmp_path: Path
) -> None:
    train(tmp_path, n_best(whole) - 1)
    shutil.copyfile(whole / "best.ckpt", tmp_path / "best.ckpt")

    train(tmp_path, 4, ckpt_path=tmp_path / "last.ckpt")

    assert step_of(tmp_path / "best.ckpt") == step_of(whole / "best.ckpt")


def test_a_test_of_the_best_one_changes_no_path(tmp_path: Path) -> None:
    run = train(tmp_path, 1)
    before = written_checkpoints(run.trainer)

    run.trainer.test(run.module, make_data(), ckpt_path=before[0], verbose=False)

    assert written_checkpoints(run.trainer) == before
    assert before == (str(tmp_path / "best.ckpt"), str(tmp_path / "last.ckpt"))


def test_a_run_that_goes_on_without_a_step_names_what_is_there(tmp_path: Path) -> None:
    train(tmp_path / "old", 1)

    in_place = train(tmp_path / "old", 1, ckpt_path=tmp_path / "old" / "best.ckpt")
    elsewhere = train(tmp_path / "new", 1, ckpt_path=tmp_path / "old" / "last.ckpt")

    assert written_checkpoints(in_place.trainer)[1] == str(tmp_path / "old" / "last.ckpt")
    assert written_checkpoints(elsewhere.trainer) == (str(tmp_path / "new" / "best.ckpt"), None)


@pytest.mark.parametrize("kind", ["files", "folders"])
def test_the_one_before_the_best_is_resumed_whole_where_it_takes_the_place_of_the_best(
    kind: str, whole: Path, tmp_path: Path
) -> None:
    folder, apart = tmp_path / "folder", tmp_path / "apart"
    train(folder, n_best(whole))
    before = folder / "best.previous.ckpt"
    if kind == "folders":
        with join(Launch(0, 1, 0, 1, "127.0.0.1", free_port(), 0, False), timeout_s=10):
            for path in (before, folder / "best.ckpt"):
                make_folder(path)
    apart.mkdir()
    copy_whole(before, apart / before.name)
    copy_whole(before, apart / "best.ckpt")
    expected = train(apart, n_best(whole), ckpt_path=apart / before.name)

    run = train(folder, n_best(whole), ckpt_path=before)

    # Weights and momentum are those of one and the same checkpoint.
    assert [float(loss) for loss in run.losses] == [float(loss) for loss in expected.losses]


@pytest.mark.parametrize("interval", [2, 3])
def test_a_best_one_between_the_batches_of_a_step_says_so_when_it_is_resumed(
    interval: int, tmp_path: Path
) -> None:
    options = {"accumulate_grad_batches": 2, "val_check_interval": interval}
    train(tmp_path, 1, **options, max_steps=2)
    (tmp_path / "best.ckpt").rename(tmp_path / "alone.ckpt")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(tmp_path / "new", 1, ckpt_path=tmp_path / "alone.ckpt", **options)

    said = [str(each.message) for each in caught if "between two batches" in str(each.message)]
    assert len(said) == (interval % 2)
    assert all("alone.ckpt" in words and "accumulate_grad_batches" in words for words in said)


def make_folder(path: Path) -> None:
    """Turn a checkpoint's file into the folder that ranks write."""
    saved = read_checkpoint(path)
    group = dist.group.WORLD
    assert group is not None
    write_folder(saved, part_of(path), path.with_name("folder"), group)
    path.unlink()
    path.with_name("folder").rename(path)
