"""Whatever is wrong with a file ends with status 2 and a line that says so, and leaves nothing."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bad_input.files import (
    SETTINGS,
    BadFile,
    as_csv,
    as_parquet,
    bad_csv,
    bad_parquet,
    good_frame,
    good_rows,
)
from tests.bad_input.tries import Commands, fault_of

# All examples have one folder, which each of them leaves as it was.
SHARED = settings(
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FEW, MANY = settings(SHARED, max_examples=12), settings(SHARED, max_examples=300)


def assert_refused(bad: BadFile, commands: Commands, folder: Path, command: str) -> None:
    path = folder / bad.name
    path.write_bytes(bad.content)
    overrides = (*SETTINGS, f"data.path={bad.name}", *bad.settings)
    try:
        fault = fault_of(lambda: commands[command](*overrides), folder, bad.may_work)
    finally:
        path.unlink()
    assert fault is None, f"{fault}\n{bad}"


@FEW
@given(bad=st.one_of(bad_csv(), bad_parquet()))
def test_a_few_files_that_cannot_work_are_refused(
    bad: BadFile, all_commands: Commands, in_tmp_path: Path
) -> None:
    assert_refused(bad, all_commands, in_tmp_path, "plan")


@pytest.mark.long
@MANY
@given(bad=bad_csv())
def test_many_csv_files_that_cannot_work_are_refused(
    bad: BadFile, all_commands: Commands, in_tmp_path: Path
) -> None:
    assert_refused(bad, all_commands, in_tmp_path, "train")


@pytest.mark.long
@MANY
@given(bad=bad_parquet())
def test_many_parquet_files_that_cannot_work_are_refused(
    bad: BadFile, all_commands: Commands, in_tmp_path: Path
) -> None:
    assert_refused(bad, all_commands, in_tmp_path, "train")


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_the_files_that_they_are_changed_from_work(
    name: str, all_commands: Commands, in_tmp_path: Path
) -> None:
    """Keeps the tests above honest: what is refused is the one change."""
    content = as_csv(good_rows()) if name == "x.csv" else as_parquet(good_frame())
    (in_tmp_path / name).write_bytes(content)

    ended = all_commands["train"](*SETTINGS, f"data.path={name}")

    assert ended.status == 0, ended.err
