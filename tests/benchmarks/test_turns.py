import pytest

from benchmarks.samples import Step
from benchmarks.turns import LONG_MS, TurnTaker


class Counted:
    """Counts its steps."""

    def __init__(self, wall_ms: float) -> None:
        self.n_steps = 0
        self._wall_ms = wall_ms

    def step(self) -> Step:
        self.n_steps += 1
        return Step(self._wall_ms, 1.0)

    def close(self) -> None:
        """Nothing was started."""


@pytest.mark.parametrize(
    ("wall_ms", "with_memory", "n_taken"),
    [
        (LONG_MS, False, [3, 6]),
        (LONG_MS, True, [3, 6]),
        (LONG_MS + 1, False, [3, 4]),
        (LONG_MS + 1, True, [3, 4]),
    ],
)
def test_a_turn_has_a_warm_up_and_two_steps_but_one_in_all_once_steps_are_known_to_be_long(
    wall_ms: float, with_memory: bool, n_taken: list[int]
) -> None:
    subject = Counted(wall_ms)
    taker = TurnTaker(subject)
    for n_steps in n_taken:
        taker.take_turn(2, with_memory=with_memory)
        assert subject.n_steps == n_steps
