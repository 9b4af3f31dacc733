import pytest

from benchmarks.machine_time import MachineTime, parse_stat

STAT = "cpu  100 20 30 800 40 5 5 10 60 0\ncpu0 50 10 15 400 20 2 3 5 30 0\nintr 1 2 3\n"


def test_the_first_line_is_read_and_guest_time_is_not_counted_twice() -> None:
    time = parse_stat(STAT, ticks_per_s=100)
    assert time == MachineTime(total_ms=10_100.0, idle_ms=8_400.0, stolen_ms=100.0)


@pytest.mark.parametrize("text", ["", "cpu  1 2 3 4 5 6 7\n", "intr 1 2 3 4 5 6 7 8 9\n"])
def test_a_kernel_that_counts_no_steal_gives_nothing(text: str) -> None:
    assert parse_stat(text, ticks_per_s=100) is None


def test_shares_are_of_the_time_between_two_readings() -> None:
    earlier = MachineTime(total_ms=1_000.0, idle_ms=500.0, stolen_ms=100.0)
    later = MachineTime(total_ms=3_000.0, idle_ms=1_000.0, stolen_ms=150.0)
    passed = later - earlier
    assert passed.stolen == pytest.approx(0.025)
    assert passed.others(ours_ms=1_050.0) == pytest.approx(0.2)


def test_no_time_passed_means_nothing_was_lost() -> None:
    nothing = MachineTime(0.0, 0.0, 0.0)
    assert nothing.stolen == 0.0
    assert nothing.others(ours_ms=10.0) == 0.0


def test_rounding_never_gives_others_less_than_nothing() -> None:
    assert MachineTime(100.0, 50.0, 0.0).others(ours_ms=60.0) == 0.0
