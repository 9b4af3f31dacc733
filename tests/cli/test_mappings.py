"""Mappings in overrides and files: they replace what was there, and name nothing twice."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from gru_parallel.config import folders
from gru_parallel.config.overrides import check_sweep, compose_config
from gru_parallel.errors import UsageError
from tests.cli.composing import load_configs_once
from tests.cli.in_process import SMALL, RunCommand, losses_of

ETTH1 = ("experiment=etth1", "data=lorenz96")
RANGES = "placement.device_map={0-1: cpu:0, 2-3: cpu:1}"
"""Where the experiment has a list."""

TWICE = {
    "a range": ("placement.device_map={0-1: cpu:0, 0-1: cpu:1}", "0-1"),
    "a block among others": (
        "placement.device_map={0: cpu:0, 1: cpu:1, 1: cpu:2, 2: cpu:2}",
        "1",
    ),
    "with other blanks": ("placement.device_map={0-1:cpu:0,  0-1 :cpu:1}", "0-1"),
    "in a mapping within": ("+callbacks.mine={_target_: a.B, options: {c: 1, c: 2}}", "c"),
    "in a list": ("+callbacks.mine={_target_: a.B, options: [{c: 1, c: 2}]}", "c"),
    "added by force": ("++placement.device_map={0-1: cpu:0, 0-1: cpu:1}", "0-1"),
}


@pytest.fixture(autouse=True)
def configs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    load_configs_once(monkeypatch)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([*ETTH1, RANGES], {"0-1": "cpu:0", "2-3": "cpu:1"}),
        ([*ETTH1, f"+{RANGES}"], {"0-1": "cpu:0", "2-3": "cpu:1"}),
        ([*ETTH1, f"++{RANGES}"], {"0-1": "cpu:0", "2-3": "cpu:1"}),
        ([RANGES, "placement.device_map={0: cpu:0, 1-3: cpu:2}"], {0: "cpu:0", "1-3": "cpu:2"}),
        ([RANGES, "placement.device_map=[0,0,1,1]"], [0, 0, 1, 1]),
        ([*ETTH1, RANGES, "placement.device_map=null"], None),
    ],
)
def test_a_map_replaces_the_one_that_stood_there(overrides: list[str], expected: Any) -> None:
    found = compose_config(overrides).placement.device_map

    assert (OmegaConf.to_container(found) if OmegaConf.is_config(found) else found) == expected


def test_a_run_takes_ranges_in_place_of_the_list_of_its_experiment(
    train_command: RunCommand,
) -> None:
    small = [*ETTH1, *SMALL, "data.split=[0.7,0.1,0.2]", "trainer.max_epochs=1"]
    ranges = train_command(*small, RANGES)

    assert "2-3: cpu:1" in (ranges.folder / "config.yaml").read_text()
    assert losses_of(ranges) == losses_of(train_command(*small, run="list"))


def test_a_sweep_takes_lists_and_ranges(train_command: RunCommand, in_tmp_path: Path) -> None:
    sweep = ["placement.device_map={0-1: cpu:0, 2-3: cpu:1},[0,0,0,0]", "hydra.sweep.dir=sweep"]
    small = [*ETTH1, *SMALL, "data.split=[0.7,0.1,0.2]", "trainer.fast_dev_run=true"]
    ended = train_command(*small, *sweep, flags=("-m",))

    assert ended.status == 0, ended.err
    for index, wanted in enumerate(("2-3: cpu:1", "- 0")):
        assert wanted in (in_tmp_path / "sweep" / str(index) / "config.yaml").read_text()


@pytest.mark.parametrize("case", TWICE)
def test_a_key_that_an_override_names_twice_is_refused(case: str) -> None:
    override, key = TWICE[case]

    with pytest.raises(UsageError) as caught:
        compose_config([override])

    assert str(caught.value) == f"{override} has the key {key} twice; write each key once."


def test_a_key_named_twice_in_a_sweep_is_refused() -> None:
    with pytest.raises(UsageError, match="has the key 0-3 twice"):
        check_sweep(["placement.device_map={0-3: cpu:0, 0-3: cpu:1},[0,0,0,0]"])


@pytest.mark.parametrize("command", ["train", "plan"])
def test_a_block_named_twice_ends_both_commands(
    command: str, train_command: RunCommand, plan_command: RunCommand
) -> None:
    run = train_command if command == "train" else plan_command
    ended = run(*SMALL, TWICE["a block among others"][0])

    assert ended.status == 2
    assert ended.err.endswith("has the key 1 twice; write each key once.\n")
    assert not (ended.folder / ".hydra").exists()


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of an experiment, in a conf/ of its own."""
    conf = tmp_path / "conf"
    shutil.copytree(folders.conf_dir(), conf)
    for name, module in list(sys.modules.items()):
        if name.startswith("gru_parallel") and hasattr(module, "conf_dir"):
            monkeypatch.setattr(module, "conf_dir", lambda: conf)
    return conf / "experiment" / f"{tmp_path.name}.yaml"


def of_map(device_map: str) -> str:
    return f"# @package _global_\nplacement:\n  device_map: {device_map}\n"


def test_a_file_may_map_single_blocks(experiment: Path) -> None:
    experiment.write_text(of_map("{0: cpu:0, 1-3: cpu:1}"))

    found = compose_config([f"experiment={experiment.stem}"]).placement.device_map

    assert found == {0: "cpu:0", "1-3": "cpu:1"}


@pytest.mark.parametrize(
    ("device_map", "key"),
    [
        ("{0-1: cpu:0, 0-1: cpu:1}", "0-1"),
        ("{0: cpu:0, 1: cpu:1, 1: cpu:2, 2-3: cpu:2}", "1"),
        ("\n    0: cpu:0\n    1: cpu:1\n    0x1: cpu:2", "0x1"),
    ],
)
def test_a_key_that_a_file_names_twice_is_refused(
    device_map: str, key: str, experiment: Path
) -> None:
    experiment.write_text(of_map(device_map))

    with pytest.raises(UsageError) as caught:
        compose_config([f"experiment={experiment.stem}"])

    line = 6 if "\n" in device_map else 3
    assert str(caught.value) == (
        f"{experiment} has the key {key} twice in one mapping, again in line {line}; write each key"
        " once."
    )


def test_a_file_that_is_no_yaml_is_refused(experiment: Path) -> None:
    experiment.write_text(of_map("{0: cpu:0"))

    with pytest.raises(UsageError) as caught:
        compose_config([f"experiment={experiment.stem}"])

    # The rest is PyYAML's, with or without its part in C.
    assert str(caught.value).startswith(f"{experiment} cannot be read: ")
    assert str(caught.value).endswith(" in line 4.")
