"""Each setting that cannot work is refused by both commands, before anything is written."""

import pytest

from tests.cli.bad_input import BAD_SETTINGS
from tests.cli.in_process import SMALL, Ended, RunCommand


def assert_refused(ended: Ended, fragments: list[str]) -> None:
    assert ended.status == 2
    lines = ended.err.splitlines()
    assert 1 <= len(lines) <= 2, ended.err
    assert lines[0].startswith("gru_parallel: ")
    for fragment in fragments:
        assert fragment in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_training_refuses_a_setting_that_cannot_work(name: str, train_command: RunCommand) -> None:
    overrides, fragments = BAD_SETTINGS[name]

    ended = train_command(*SMALL, *overrides)

    assert_refused(ended, fragments)
    assert list(ended.folder.parent.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "a mistyped key",
        "an unknown option",
        "a map that is too short",
        "a map without brackets",
        "more chunks than steps",
        "a series too short for one window",
    ],
)
def test_planning_refuses_a_setting_that_cannot_work(name: str, plan_command: RunCommand) -> None:
    overrides, fragments = BAD_SETTINGS[name]

    ended = plan_command(*SMALL, *overrides)

    assert_refused(ended, fragments)
    assert list(ended.folder.iterdir()) == []


def test_the_settings_that_they_are_added_to_work(train_command: RunCommand) -> None:
    """Keeps the tests above honest: what is refused is the one setting."""
    ended = train_command(*SMALL, "trainer.max_epochs=1")

    assert ended.status == 0, ended.err
    assert ended.folder.is_dir()
