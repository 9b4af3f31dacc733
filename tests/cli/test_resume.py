"""Resuming from a checkpoint: what is asked for anew is used, or refused with what to write."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gru_parallel.assembly.resume import check_validation
from gru_parallel.errors import UsageError
from gru_parallel.run_folder import RunFolder
from gru_parallel.training import SeriesModule
from tests.cli.in_process import SMALL as WITH_TEST
from tests.cli.in_process import (
    Ended,
    RunCommand,
    assert_refused,
    checkpoint_of,
    losses_of,
    rows_of,
    write_first,
)

ONE_EPOCH, TWO, FOUR = (f"trainer.max_epochs={n}" for n in (1, 2, 4))
FIRST = "ckpt_path=first/checkpoints/last.ckpt"


SMALL = (*WITH_TEST, "trainer.limit_test_batches=0")

FROM_FILE = (
    *(setting for setting in SMALL if not setting.startswith("data.n_")),
    "data=csv",
    "data.season_length=null",
    "data.path=series.csv",
)


@pytest.fixture
def first(train_command: RunCommand, in_tmp_path: Path) -> Path:
    """The last checkpoint of a run of one epoch."""
    return write_first(train_command, *SMALL, ONE_EPOCH)


@pytest.fixture
def from_file(train_command: RunCommand, in_tmp_path: Path) -> Path:
    """The last checkpoint of a run of one epoch on a file, and the file."""
    _write_series(in_tmp_path / "series.csv")
    return write_first(train_command, *FROM_FILE, ONE_EPOCH)


def _write_series(path: Path, seed: int = 0, columns: tuple[str, ...] = ("a", "b", "c")) -> None:
    values = np.random.default_rng(seed).normal(size=(260, 3)).cumsum(0)
    pd.DataFrame(values, columns=list(columns)).to_csv(path, index=False)


def said(ended: Ended) -> str:
    """Return what was printed, however its lines were broken."""
    return " ".join(ended.out.split())


def rates_of(ended: Ended) -> list[float]:
    return [float(row["lr"]) for row in rows_of(ended)]


def assert_no_run(ended: Ended, *fragments: str) -> None:
    assert_refused(ended, fragments)
    assert not ended.folder.exists()


# What is asked of the optimiser.


def test_a_rate_given_anew_is_used_and_said(first: Path, train_command: RunCommand) -> None:
    rest = train_command(*SMALL, TWO, "optimizer.lr=0.02", FIRST, run="rest")

    assert rates_of(rest) == [0.02] * 3
    assert "Resumed from" in rest.out
    assert "optimizer.lr=0.02 (before: 0.001)" in said(rest)


def test_another_core_is_used_and_said(first: Path, train_command: RunCommand) -> None:
    same = train_command(*SMALL, TWO, FIRST, run="same")
    other = train_command(*SMALL, TWO, "model.core=lean", FIRST, run="other")

    assert "model.core=lean (before: auto)" in said(other)
    weights, expected = (checkpoint_of(ended)["state_dict"] for ended in (other, same))
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-4)
    loaded = SeriesModule.load_from_checkpoint(other.folder / "checkpoints" / "last.ckpt")
    assert {block.core for block in loaded.model.gru.gru_blocks} == {"lean"}


@pytest.mark.parametrize("other", ["adam", "sgd"])
def test_another_optimiser_is_refused(other: str, first: Path, train_command: RunCommand) -> None:
    ended = train_command(*SMALL, TWO, f"optimizer={other}", FIRST)

    assert_no_run(ended, FIRST, "AdamW", "optimizer._target_=torch.optim.", "init_from=first/")


def test_an_argument_that_needs_states_from_the_first_step_on_is_refused(
    first: Path,
    train_command: RunCommand,
) -> None:
    ended = train_command(*SMALL, TWO, "+optimizer.amsgrad=true", FIRST)

    assert_no_run(ended, "optimizer.amsgrad=True", "max_exp_avg_sq", "init_from=first/")


def test_other_weights_that_decay_are_refused(first: Path, train_command: RunCommand) -> None:
    ended = train_command(*SMALL, TWO, "optimizer.weight_decay_on=feedforward", FIRST)

    assert_no_run(ended, FIRST, "optimizer.weight_decay_on as it was", "init_from=")


def test_a_run_whose_state_does_not_decay_is_resumed_to_the_same_bits(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    settings = (*SMALL, "optimizer.weight_decay_on=feedforward", "model.norm=layer")
    write_first(train_command, *settings, ONE_EPOCH)
    whole = train_command(*settings, TWO, run="whole")

    rest = train_command(*settings, TWO, FIRST, "optimizer.lr=1e-3", run="rest")

    weights, expected = (checkpoint_of(ended)["state_dict"] for ended in (rest, whole))
    assert all(torch.equal(weight, expected[name]) for name, weight in weights.items())
    last = rest.folder / "checkpoints" / "last.ckpt"
    assert SeriesModule.load_from_checkpoint(last).weight_decay_on == "feedforward"


@pytest.mark.parametrize("first_steps", [True, False], ids=["resumed", "from the start"])
def test_a_cycle_that_is_too_short_for_the_run_is_refused(
    first_steps: bool, first: Path, train_command: RunCommand
) -> None:
    settings = [*SMALL, "lr_scheduler=one_cycle", "lr_scheduler.total_steps=6"]

    ended = train_command(*settings, FOUR, *([FIRST] if first_steps else []))

    assert_no_run(ended, "lr_scheduler.total_steps=6", "12 steps", "the word total_steps")


# Paths.


def test_a_relative_path_works_where_hydra_changes_the_folder(
    first: Path, train_command: RunCommand, in_tmp_path: Path
) -> None:
    rest = train_command(*SMALL, TWO, FIRST, "hydra.job.chdir=true", run="rest")

    assert checkpoint_of(rest)["global_step"] == 6
    assert Path.cwd() == in_tmp_path


def test_relative_paths_of_a_sweep_are_those_of_the_command(
    from_file: Path, train_command: RunCommand, in_tmp_path: Path
) -> None:
    sweep = ["optimizer.lr=0.1", "hydra.sweep.dir=sweep", "hydra.job.chdir=true"]

    ended = train_command(*FROM_FILE, TWO, FIRST, *sweep, flags=("--multirun",))

    assert ended.status == 0, ended.err
    assert (in_tmp_path / "sweep" / "0" / "summary.json").is_file()


# The rate.


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [("cosine", "0.0005 from here on, after 0.00025 in the last step"), ("plateau", "")],
)
def test_a_rate_that_jumps_is_said_to(
    schedule: str, rates: str, train_command: RunCommand, in_tmp_path: Path
) -> None:
    settings = (*SMALL, f"lr_scheduler={schedule}")
    write_first(train_command, *settings, ONE_EPOCH)

    # Three of six steps of half a cosine.
    rest = train_command(*settings, TWO, FIRST, run="rest")

    assert (f"The learning rate is {rates}" in said(rest)) == bool(rates)
    assert ("The learning rate is" in said(rest)) == bool(rates)


# Other data.


def test_the_same_data_in_another_file_is_the_same(
    from_file: Path, train_command: RunCommand, in_tmp_path: Path
) -> None:
    frame = pd.read_csv(in_tmp_path / "series.csv")
    frame.to_parquet(in_tmp_path / "moved.parquet")

    rest = train_command(*FROM_FILE, "data.path=moved.parquet", TWO, FIRST, run="rest")

    assert checkpoint_of(rest)["global_step"] == 6
    assert "data.path=moved.parquet (before: series.csv)" in said(rest)


@pytest.mark.parametrize(
    ("what", "fragments"),
    [
        ("another file", ["column a", "training part", "mean"]),
        ("a longer file", ["182 rows", "training part", "189 rows"]),
        ("other columns", ["the columns a, b, c", "the columns a, b, d"]),
        ("columns in another order", ["the columns a, b, c", "the columns b, a, c"]),
        ("another target", ["the targets a", "the targets b"]),
        ("other values at the end", ["test part", "column a"]),
    ],
)
def test_other_data_is_refused(
    what: str, fragments: list[str], train_command: RunCommand, in_tmp_path: Path
) -> None:
    path = in_tmp_path / "series.csv"
    _write_series(path)
    target = ["data.target=a"] if what == "another target" else []
    write_first(train_command, *FROM_FILE, ONE_EPOCH, *target)
    frame = pd.read_csv(path)
    if what == "another file":
        _write_series(path, seed=1)
    elif what == "a longer file":
        pd.concat([frame, frame.tail(10)]).to_csv(path, index=False)
    elif what == "other columns":
        _write_series(path, columns=("a", "b", "d"))
    elif what == "columns in another order":
        frame[["b", "a", "c"]].to_csv(path, index=False)
    elif what == "another target":
        target = ["data.target=b"]
    else:
        frame.loc[240:, "a"] += 5
        frame.to_csv(path, index=False)

    ended = train_command(*FROM_FILE, *target, TWO, FIRST)

    assert_no_run(ended, FIRST, "init_from=first/checkpoints/last.ckpt", *fragments)


@pytest.mark.parametrize(
    ("setting", "before"),
    [
        ("model.loss=mae", "mse"),
        ("model.h_0=[zeros,previous,previous,previous]", "zeros"),
        ("data.centre=none", "last"),
        ("data.input_length=9", "8"),
        ("data.min_input_length=2", "null"),
    ],
)
def test_another_task_is_refused(
    setting: str, before: str, first: Path, train_command: RunCommand
) -> None:
    ended = train_command(*SMALL, setting, TWO, FIRST)

    assert_no_run(ended, FIRST, setting.split("=")[0], before)


def test_a_validation_of_other_windows_is_refused(first: Path, train_command: RunCommand) -> None:
    fewer = ["trainer.limit_val_batches=1", "data.batch_size=4"]

    ended = train_command(*SMALL, *fewer, TWO, FIRST)

    assert_no_run(ended, FIRST, "trainer.limit_val_batches=1", "null", "init_from=")


@pytest.mark.parametrize(
    ("before", "now", "refused"),
    [
        ((None, 64), (1.0, 32), None),
        ((1, 64), (1, 64), None),
        ((1, 64), (1.0, 64), "trainer.limit_val_batches=1.0"),
        ((4, 64), (4, 32), "data.batch_size=32"),
        ((4, 64), (4, 64, "streams"), "data.order=streams"),
        ((0.5, 64), (0.25, 64), "trainer.limit_val_batches=0.25"),
        ((0, 64), (None, 64), None),
        # All of the 1,000 windows.
        ((16, 64), (None, 32), None),
        ((16, 64), (15, 64), "trainer.limit_val_batches=15"),
    ],
)
def test_what_is_validated_stays_the_same(
    before: Sequence[object], now: Sequence[object], refused: str | None
) -> None:
    def given(values: Sequence[object]) -> dict[str, object]:
        limit, size, order = *values, *("shuffled",)[: 3 - len(values)]
        return {"trainer.limit_val_batches": limit, "data.batch_size": size, "data.order": order}

    if refused is None:
        check_validation(given(before), given(now), 1000)
        return
    with pytest.raises(UsageError, match=re.escape(refused)):
        check_validation(given(before), given(now), 1000)


def test_a_checkpoint_knows_config_columns_scaling_and_target(from_file: Path) -> None:
    saved = torch.load(from_file, weights_only=True)

    assert saved["config"]["model"]["hidden_size"] == 4
    assert saved["config"]["optimizer"]["lr"] == 1e-3
    data = saved["SeriesDataModule"]
    assert data["columns"] == data["targets"] == ["a", "b", "c"]
    assert len(data["parts"]["training"]["mean"]) == len(data["parts"]["test"]["scale"]) == 3
    assert data["parts"]["training"]["n_rows"] == 182


# Runs that are done.


@pytest.mark.parametrize("limit", [ONE_EPOCH, "trainer.max_steps=3"])
def test_a_run_with_nothing_left_to_train_says_why(
    limit: str, first: Path, train_command: RunCommand
) -> None:
    tested = train_command(*WITH_TEST, limit, FIRST, run="tested")

    assert tested.status == 0
    assert f"has done 1 epoch and 3 steps, and {limit}: nothing is left to train" in said(tested)
    assert f"raise {limit.partition('=')[0]}" in said(tested)


def test_fewer_epochs_than_were_trained_are_refused(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    write_first(train_command, *SMALL, TWO)

    ended = train_command(*SMALL, ONE_EPOCH, FIRST)

    assert_no_run(ended, FIRST, "2 epochs", "trainer.max_epochs=1", "at least 2")


def test_the_folder_of_another_run_is_refused_finished_or_killed(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    first = train_command(*SMALL, ONE_EPOCH)
    for is_killed in (False, True):
        if is_killed:
            (first.folder / "summary.json").unlink()
        before = _times_in(first.folder)

        ended = train_command(*SMALL, ONE_EPOCH, f"init_from={first.folder}/checkpoints/last.ckpt")

        assert ended.status == 2
        (line,) = ended.err.splitlines()
        assert "hydra.run.dir=run" in line
        assert f"ckpt_path={Path('run', 'checkpoints', 'last.ckpt')}" in line
        assert _times_in(first.folder) == before


def _times_in(folder: Path) -> dict[Path, int]:
    """When each file was written last; the lock of the folder says who looked at it last."""
    files = (path for path in folder.rglob("*") if path != RunFolder(folder).lock)
    return {path: path.stat().st_mtime_ns for path in files}


def test_a_folder_in_which_no_run_got_to_a_checkpoint_is_taken(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    first = train_command(*SMALL, ONE_EPOCH)
    shutil.rmtree(first.folder / "checkpoints")
    (first.folder / "summary.json").unlink()

    again = train_command(*SMALL, ONE_EPOCH)

    assert [row["step"] for row in rows_of(again)] == ["1", "2", "3"]


@pytest.mark.parametrize("flags", [(), ("-m",)], ids=["a run", "a sweep"])
def test_an_empty_folder_of_the_run_is_refused(
    flags: tuple[str, ...], train_command: RunCommand, in_tmp_path: Path
) -> None:
    values = "seed=1,2" if flags else "seed=1"
    place = "hydra.sweep.dir=" if flags else "hydra.run.dir="

    ended = train_command(*SMALL, values, place, run="" if not flags else "run", flags=flags)

    assert ended.status == 2
    (line,) = ended.err.splitlines()
    assert place in line
    assert "empty" in line
    assert os.listdir(in_tmp_path) == []


# From the weights alone.


def test_init_from_begins_a_new_run_with_the_weights_of_another(
    first: Path, train_command: RunCommand
) -> None:
    start = "init_from=first/checkpoints/last.ckpt"

    others = ["optimizer=sgd", "optimizer.lr=1e-30", "model.core=native", "seed=1"]

    ended = train_command(*SMALL, *others, start)

    words = said(ended)
    assert "Begins with the weights of first/checkpoints/last.ckpt" in words
    assert "optimiser, schedule, steps and best model are new" in words
    assert "standardised by the training part of this run's data" in words
    saved = checkpoint_of(ended)
    for name, weight in torch.load(first, weights_only=True)["state_dict"].items():
        assert torch.equal(saved["state_dict"][name], weight)
    assert (saved["global_step"], len(rows_of(ended))) == (6, 6)


def test_init_from_takes_other_data_and_says_that_columns_differ(
    from_file: Path, train_command: RunCommand, in_tmp_path: Path
) -> None:
    _write_series(in_tmp_path / "other.csv", seed=1, columns=("a", "b", "d"))
    start = "init_from=first/checkpoints/last.ckpt"

    ended = train_command(*FROM_FILE, "data.path=other.csv", start, ONE_EPOCH)

    assert ended.status == 0, ended.err
    words = said(ended)
    assert "Its columns were a, b, c; here they are a, b, d" in words


def test_init_from_keeps_the_scaling_of_the_other_run_and_so_does_what_is_resumed(
    from_file: Path, train_command: RunCommand, in_tmp_path: Path
) -> None:
    _write_series(in_tmp_path / "other.csv", seed=1)
    settings = [*FROM_FILE, "data.path=other.csv"]
    keep = ["init_from=first/checkpoints/last.ckpt", "init_from_scaling=keep"]
    before = torch.load(from_file, weights_only=True)["SeriesDataModule"]

    whole = train_command(*settings, *keep, run="whole")
    begun = train_command(*settings, *keep, ONE_EPOCH)
    rest = train_command(*settings, "ckpt_path=run/checkpoints/last.ckpt", run="rest")

    assert "standardised as in the run that wrote it (init_from_scaling=keep)" in said(begun)
    for ended in (whole, begun, rest):
        record = checkpoint_of(ended)["SeriesDataModule"]
        assert (record["mean"], record["scale"]) == (before["mean"], before["scale"])
        assert record["parts"]["training"]["mean"] != before["mean"]
    assert losses_of(rest) == losses_of(whole)[3:]


def test_init_from_cannot_keep_the_scaling_of_other_columns(
    from_file: Path, train_command: RunCommand, in_tmp_path: Path
) -> None:
    _write_series(in_tmp_path / "other.csv", seed=1, columns=("a", "b", "d"))
    keep = ["init_from=first/checkpoints/last.ckpt", "init_from_scaling=keep"]

    ended = train_command(*FROM_FILE, "data.path=other.csv", *keep)

    assert_no_run(ended, "columns a, b, c", "has a, b, d", "init_from_scaling=refit")


@pytest.mark.parametrize(("before", "now"), [("none", "standardize"), ("standardize", "none")])
def test_init_from_keeps_no_other_scaling_than_the_settings_say(
    before: str, now: str, train_command: RunCommand, in_tmp_path: Path
) -> None:
    _write_series(in_tmp_path / "series.csv")
    write_first(train_command, *FROM_FILE, ONE_EPOCH, f"data.scaling={before}")
    keep = ["init_from=first/checkpoints/last.ckpt", "init_from_scaling=keep"]

    ended = train_command(*FROM_FILE, *keep, f"data.scaling={now}")

    assert_no_run(ended, f"with data.scaling={before}", f"data.scaling={now};", "=refit")


def test_init_from_keeps_that_no_column_is_scaled(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    _write_series(in_tmp_path / "series.csv")
    settings = [*FROM_FILE, ONE_EPOCH, "data.scaling=none"]
    write_first(train_command, *settings)
    keep = ["init_from=first/checkpoints/last.ckpt", "init_from_scaling=keep"]

    ended = train_command(*settings, *keep)

    assert "with data.scaling=none only columns that are known ahead are standar" in said(ended)
    assert set(checkpoint_of(ended)["SeriesDataModule"]["scale"]) == {1.0}


@pytest.mark.parametrize(
    ("setting", "fragments"),
    [
        ("model.hidden_size=5", ["shape (4, 4)", "(5, 4)"]),
        ("model.num_layers=5", ["it has no", "weight_ih_l4"]),
        ("data.horizon=3", ["model.head.linear"]),
    ],
)
def test_init_from_of_another_model_is_refused(
    setting: str, fragments: list[str], first: Path, train_command: RunCommand
) -> None:
    ended = train_command(*SMALL, setting, "init_from=first/checkpoints/last.ckpt")

    assert_no_run(ended, "init_from=first/checkpoints/last.ckpt", "does not fit", *fragments)


def test_init_from_and_ckpt_path_together_are_refused(
    train_command: RunCommand, plan_command: RunCommand
) -> None:
    both = [*SMALL, "ckpt_path=a.ckpt", "init_from=b.ckpt"]

    assert_no_run(train_command(*both), "ckpt_path=a.ckpt", "init_from=b.ckpt", "one of them")
    assert plan_command(*both).status == 2


def test_init_from_a_file_that_is_not_there_is_refused(train_command: RunCommand) -> None:
    assert_no_run(train_command(*SMALL, "init_from=no.ckpt"), "init_from=no.ckpt", ".ckpt file")


# From Python.


def test_a_checkpoint_of_a_run_loads_from_its_path_alone(train_command: RunCommand) -> None:
    settings = ("model.dropout=0.1", "optimizer.lr=0.01", ONE_EPOCH)
    ended = train_command(*SMALL, *settings, run="first")

    loaded = SeriesModule.load_from_checkpoint(ended.folder / "checkpoints" / "last.ckpt")

    expected = checkpoint_of(ended)["state_dict"]
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(w, expected[name]) for name, w in loaded.state_dict().items())
    assert loaded.model.gru.gru_blocks[0].dropout == 0.1
    (group,) = loaded.make_optimizer(list(loaded.parameters())).param_groups
    assert (group["lr"], group["weight_decay"]) == (0.01, 0.01)
