import pytest

from benchmarks.machine import Machine
from benchmarks.results import Results, load, result_path
from benchmarks.samples import ShapeRun
from benchmarks.speed import SPEED
from benchmarks.summary import summarise
from gru_parallel.errors import UsageError
from tests.benchmarks.rounds import SHAPE, VARIANTS, a_round

RESULTS = Results(
    benchmark="speed",
    date="2026-01-31",
    command="python -m benchmarks speed",
    machine=Machine("Some CPU", 2, "Linux x86_64", {"python": "3.12.1"}),
    numbers=(summarise(ShapeRun(SHAPE, VARIANTS, (a_round(), a_round(stolen=0.3)), 2)),),
)


def test_results_go_to_json_and_back() -> None:
    assert Results.from_json(RESULTS.to_json(), SPEED) == RESULTS


def test_results_of_another_benchmark_are_refused() -> None:
    text = RESULTS.to_json().replace('"speed"', '"height"')
    with pytest.raises(UsageError, match="python -m benchmarks height"):
        Results.from_json(text, SPEED)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a.json"])
def test_a_name_that_would_leave_the_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no name for results"):
        result_path(name)


def test_results_that_are_not_there_are_named() -> None:
    with pytest.raises(UsageError, match="no results named never-saved"):
        load("never-saved", SPEED)
