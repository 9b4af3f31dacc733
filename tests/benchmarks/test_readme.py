import pytest

from benchmarks.readme import BEGIN, END, README, between_markers
from gru_parallel.errors import UsageError


def test_only_what_stands_between_the_markers_changes() -> None:
    text = f"above\n{BEGIN}\nold\n{END}\nbelow\n"
    assert between_markers(text, "new") == f"above\n{BEGIN}\n\nnew\n\n{END}\nbelow\n"


def test_writing_the_same_again_changes_nothing() -> None:
    once = between_markers(f"{BEGIN}{END}", "new")
    assert between_markers(once, "new") == once


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{END}"])
def test_a_text_without_both_markers_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="lacks its two lines"):
        between_markers(text, "new")


def test_the_readme_has_the_markers() -> None:
    assert "x" in between_markers(README.read_text(), "x")
