import pytest

from benchmarks.samples import Step, Turn, join_turns


def test_a_step_of_several_processes_lasts_from_the_first_call_to_the_last_return() -> None:
    first = Turn((Step(wall_ms=40.0, cpu_ms=30.0, began_s=5.000),), cpu_ms=70.0)
    second = Turn((Step(wall_ms=45.0, cpu_ms=20.0, began_s=5.010),), cpu_ms=50.0)
    joined = join_turns([first, second])
    (step,) = joined.steps
    assert step.wall_ms == pytest.approx(55.0)
    assert (step.cpu_ms, joined.cpu_ms) == (50.0, 120.0)


def test_the_turn_of_one_process_stays_as_it_is() -> None:
    turn = Turn((Step(1.0, 2.0),), 3.0)
    assert join_turns([turn]) is turn
