"""Each setting that cannot work is refused by both commands, before anything is written."""

from pathlib import Path

import pytest

from gru_parallel.config.overrides import check_sweep
from gru_parallel.errors import UsageError
from tests.cli.bad_input import BAD_SETTINGS
from tests.cli.bad_training import BAD_TRAINING
from tests.cli.in_process import SMALL, RunCommand, assert_refused

ALL_BAD = BAD_SETTINGS | BAD_TRAINING


@pytest.mark.parametrize("name", ALL_BAD)
def test_training_refuses_a_setting_that_cannot_work(
    name: str, train_command: RunCommand, in_tmp_path: Path
) -> None:
    overrides, fragments = ALL_BAD[name]
    (in_tmp_path / "file").write_text("")

    ended = train_command(*SMALL, *overrides)

    assert_refused(ended, fragments, most_lines=2)
    assert [path.name for path in in_tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "name",
    [
        "a mistyped key",
        "an unknown option",
        "a map that is too short",
        "a map without brackets",
        "more chunks than steps",
        "a series too short for one window",
        "an option by its name alone",
        "a setting taken away",
        "a section taken away",
        "a variable that is not set",
        "a block of more layers than there are",
        "a word for the epochs",
        "a negative bound for gradients",
        "no batch to train on",
        "an argument without its plus",
        "a plateau without validation",
        "a finder of learning rates",
        "a validation after more batches than there are",
        "a schedule of the rate in no steps",
    ],
)
def test_planning_refuses_a_setting_that_cannot_work(name: str, plan_command: RunCommand) -> None:
    overrides, fragments = ALL_BAD[name]

    ended = plan_command(*SMALL, *overrides)

    assert_refused(ended, fragments, most_lines=2)
    assert list(ended.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "fragments"),
    [
        (("--num_layers=3",), ["--num_layers=3", "model.num_layers=3"]),
        (("--data.horizon", "3"), ["--data.horizon", "data.horizon=3"]),
        (("--zzz",), ["--zzz", "--help", "setting=value"]),
        (("-cn", "nope"), ["--config-name", "experiment="]),
        (("--config-path", "nope"), ["--config-path", "experiment="]),
        (("--config-dir", "nope"), ["--config-dir", "nope", "folder"]),
        (("--cfg", "jobs"), ["--cfg", "jobs"]),
        (("--cfg", "job", "model.hiden_size=8"), ["model.hiden_size", "model.hidden_size?"]),
        (("--resolve",), ["--resolve", "--cfg"]),
        (("--help", "model.hiden_size=8"), ["model.hiden_size", "model.hidden_size?"]),
    ],
)
def test_a_flag_that_cannot_work_is_refused(
    flags: tuple[str, ...], fragments: list[str], train_command: RunCommand
) -> None:
    ended = train_command(*SMALL, flags=flags)

    assert_refused(ended, fragments, most_lines=2)
    assert list(ended.folder.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--num_layers=3"], ["--num_layers=3", "model.num_layers=3"]),
        (["--config-dir", "x"], ["--config-dir", "hydra.searchpath"]),
        (["-m", "schedule.n_chunks=2,4"], ["-m", "train"]),
        (["-cn", "nope"], ["-cn"]),
    ],
)
def test_planning_refuses_a_flag(
    arguments: list[str], fragments: list[str], plan_command: RunCommand
) -> None:
    ended = plan_command(*SMALL, *arguments)

    assert_refused(ended, fragments, most_lines=2)


@pytest.mark.parametrize(
    "folder", ["${oc.env:GRU_PARALLEL_NOT_SET}", "${nothing}", "${hydra.nothing}"]
)
def test_a_folder_by_a_reference_to_nothing_is_refused(
    folder: str, train_command: RunCommand
) -> None:
    ended = train_command(*SMALL, run=folder)

    assert_refused(ended, ["hydra.run.dir", folder], most_lines=2)


def test_a_sweep_into_a_folder_by_a_reference_to_nothing_is_refused(
    train_command: RunCommand,
) -> None:
    folder = "hydra.sweep.dir=${oc.env:GRU_PARALLEL_NOT_SET}"

    ended = train_command(*SMALL, folder, flags=("-m",))

    assert_refused(ended, ["hydra.sweep.dir", "GRU_PARALLEL_NOT_SET"], most_lines=2)


def test_a_sweep_over_a_mistyped_key_is_refused_before_its_first_run(
    train_command: RunCommand,
) -> None:
    sweep = ["model.hiden_size=8,16", "hydra.sweep.dir=sweep"]

    ended = train_command(*SMALL, *sweep, flags=("-m",))

    assert_refused(ended, ["model.hiden_size", "model.hidden_size?"], most_lines=2)
    assert list(ended.folder.parent.iterdir()) == []


def test_a_sweep_over_nothing_is_refused(train_command: RunCommand) -> None:
    ended = train_command(*SMALL, "seed=range(0)", "hydra.sweep.dir=sweep", flags=("-m",))

    assert_refused(ended, ["seed=range(0)", "seed=a,b"], most_lines=2)


def test_a_sweep_over_what_no_list_has_is_refused() -> None:
    with pytest.raises(UsageError, match="gives a sweep no values"):
        check_sweep(["optimizer.lr=interval(0,.1),0.3"])


@pytest.mark.parametrize("name", ["", ".seed"])
def test_the_values_of_a_sweep_are_given_to_the_settings(
    name: str, train_command: RunCommand
) -> None:
    values = f"hydra.sweeper.params{name}=" + ("'2,3'" if name else "{seed: '2,3'}")
    ended = train_command(*SMALL, values, flags=("-m",))

    assert_refused(ended, [f"hydra.sweeper.params{name} is for files", "seed=1,2"])
    assert list(ended.folder.parent.iterdir()) == []


def test_a_sweep_by_what_is_not_installed_is_refused(train_command: RunCommand) -> None:
    ended = train_command(*SMALL, "seed=1,2", "hydra/launcher=joblib", flags=("-m",))

    assert_refused(ended, ["hydra/launcher/joblib"], most_lines=2)
    assert list(ended.folder.parent.iterdir()) == []


def test_a_sweep_over_a_mistyped_option_is_refused_before_its_first_run(
    train_command: RunCommand,
) -> None:
    sweep = ["schedule=naive,gpip", "hydra.sweep.dir=sweep"]

    ended = train_command(*SMALL, *sweep, flags=("-m",))

    assert_refused(ended, ["schedule=gpip", "schedule=gpipe?"], most_lines=2)
    assert list(ended.folder.parent.iterdir()) == []


def test_a_sweep_over_options_knows_the_settings_of_each(train_command: RunCommand) -> None:
    check_sweep(["data=csv,lorenz96", "data.path=a.csv", "data.n_steps=100,200", "seed=range(3)"])

    with pytest.raises(UsageError, match=r"data\.path is a setting of data=csv"):
        check_sweep(["data=lorenz96", "data.path=a.csv,b.csv"])


def test_a_folder_that_cannot_be_made_is_refused(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    (in_tmp_path / "file").write_text("")

    ended = train_command(*SMALL, run="file/run")

    assert_refused(ended, ["hydra.run.dir", "file", "choose another"], most_lines=2)


def test_what_only_the_run_can_refuse_ends_with_the_message_alone(
    train_command: RunCommand,
) -> None:
    # What a function makes, is known when it has made it.
    ended = train_command(*SMALL, "+logger.mine={_target_: builtins.dict.fromkeys, iterable: []}")

    assert ended.status == 2
    assert len(ended.err.splitlines()) == 1
    assert "logger.mine" in ended.err


def test_a_callback_may_name_the_folder_of_the_run(train_command: RunCommand) -> None:
    checkpoint = "_target_: lightning.pytorch.callbacks.ModelCheckpoint"
    folder = 'dirpath: "${hydra:runtime.output_dir}/mine"'

    short = ["trainer.max_epochs=1", "trainer.limit_test_batches=0"]
    ended = train_command(*SMALL, *short, f"+callbacks.mine={{{checkpoint}, {folder}}}")

    assert ended.status == 0, ended.err
    assert (ended.folder / "mine").is_dir()


def test_the_settings_that_they_are_added_to_work(train_command: RunCommand) -> None:
    """Keeps the tests above honest: what is refused is the one setting."""
    ended = train_command(*SMALL, "trainer.fast_dev_run=true")

    assert ended.status == 0, ended.err
    assert ended.folder.is_dir()
