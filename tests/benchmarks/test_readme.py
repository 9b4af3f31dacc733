import pytest

from benchmarks.__main__ import BENCHMARKS
from benchmarks.readme import README, between_markers, markers
from gru_parallel.errors import UsageError

BEGIN, END = markers("speed")


def test_only_what_stands_between_the_markers_changes() -> None:
    text = f"above\n{BEGIN}\nold\n{END}\nbelow\n"
    assert between_markers(text, "speed", "new") == f"above\n{BEGIN}\n\nnew\n\n{END}\nbelow\n"


def test_writing_the_same_again_changes_nothing() -> None:
    once = between_markers(f"{BEGIN}{END}", "speed", "new")
    assert between_markers(once, "speed", "new") == once


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{END}"])
def test_a_text_without_both_markers_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="lacks its two lines"):
        between_markers(text, "speed", "new")


@pytest.mark.parametrize("name", [benchmark.name for benchmark in BENCHMARKS])
def test_the_readme_has_the_markers_of_every_benchmark(name: str) -> None:
    assert "x" in between_markers(README.read_text(), name, "x")
