"""Which settings make a run another one."""

import pytest

from benchmarks.run_settings import RunSettings, run_settings

KEPT = {"optimizer.lr": 0.1, "trainer.max_epochs": 5}
NOW = RunSettings(KEPT, {"optimizer.lr": 0.001, "trainer.max_epochs": 5})


def test_a_run_with_the_same_settings_is_the_same() -> None:
    assert NOW.are_those_of(KEPT)
    assert not NOW.are_those_of({**KEPT, "optimizer.lr": 0.2})


def test_a_default_that_has_changed_makes_another_run() -> None:
    now = {"optimizer.lr": 0.1, "trainer.max_epochs": 6}

    assert not RunSettings(now, {**NOW.default, "trainer.max_epochs": 6}).are_those_of(KEPT)


def test_a_default_that_has_moved_away_from_what_is_asked_for_does_not() -> None:
    assert RunSettings(KEPT, {"optimizer.lr": 0.1, "trainer.max_epochs": 6}).are_those_of(KEPT)


@pytest.mark.parametrize(("value", "same"), [("none", True), ("layer", False)])
def test_a_new_setting_makes_another_run_only_if_it_is_used(value: str, same: bool) -> None:
    now = RunSettings({**KEPT, "model.norm": value}, {**NOW.default, "model.norm": "none"})

    assert now.are_those_of(KEPT) is same


def test_a_setting_that_is_no_longer_there_makes_another_run() -> None:
    assert not NOW.are_those_of({**KEPT, "model.norm": "none"})


AT_A = ("data=csv", "data.path=a.csv")


@pytest.mark.parametrize(
    "other",
    [
        ("data=csv", "data.path=b/c.csv"),
        (*AT_A, "placement.device_map=[cpu:0,cpu:0,cpu:1,cpu:1]"),
        (*AT_A, "watch.every_s=7", "seed=3"),
    ],
)
def test_where_a_series_lies_and_a_run_trains_tells_no_runs_apart(other: tuple[str, ...]) -> None:
    assert run_settings(other).are_those_of(run_settings(AT_A).own)


def test_what_moves_errors_tells_runs_apart() -> None:
    assert not run_settings((*AT_A, "optimizer.lr=0.2")).are_those_of(run_settings(AT_A).own)
