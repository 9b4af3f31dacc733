"""The command lines of `report` and `compare`: folders, and one flag."""

from pathlib import Path

import pytest

from gru_parallel.app.folders_line import FoldersLine, read_folders_line
from gru_parallel.errors import UsageError


def test_folders_are_read_each_once_and_in_order() -> None:
    assert read_folders_line(["b", "a", "b"]) == FoldersLine((Path("b"), Path("a")))


@pytest.mark.parametrize("arguments", [["--output", "x.html", "a"], ["a", "--output=x.html"]])
def test_the_file_to_write_may_be_named_anywhere(arguments: list[str]) -> None:
    assert read_folders_line(arguments) == FoldersLine((Path("a"),), Path("x.html"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: RUN; see --help."),
        (["a", "--outptu", "x"], "--outptu"),
        (["a", "--out", "x"], "--out"),
        (["a", "--output"], "--output: expected one argument; see --help."),
    ],
)
def test_a_wrong_line_is_refused_in_one_sentence(arguments: list[str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_folders_line(arguments)

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
