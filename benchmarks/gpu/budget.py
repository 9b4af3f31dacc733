"""Budget: which case may still begin. A benchmark on a lent GPU has to end when it said."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from benchmarks.gpu.cases import Case, Way
from benchmarks.gpu.steps import MEASURE_S, MIN_STEPS, n_warm_up

START_S = 1.5
"""To build a model, free the one before and capture."""

RANKS_START_S = 15.0
LAUNCH_S = 40e-6
"""What nn.GRU takes the host per layer and time step, F+B: measured on an H200 are 30 to 40."""

FLOPS_PER_S = 5e13
PATIENCE = 5.0
"""A case that takes this many times what was expected is taken for one that hangs."""

MIN_PATIENCE_S = 30.0


def expected_s(case: Case) -> float:
    """Estimate, generously, how long a case takes: warm-up, capture and measured steps."""
    shape = case.shape
    launching_s = LAUNCH_S * shape.num_layers * shape.n_steps
    flops = 36 * shape.hidden_size**2 * shape.batch_size * shape.n_steps * shape.num_layers
    step_s = max(launching_s, flops / FLOPS_PER_S)
    start_s = RANKS_START_S if case.way is Way.PEER else START_S
    return start_s + n_warm_up(case.way) * step_s + max(MEASURE_S, MIN_STEPS * step_s)


class Budget:
    """The time that is left, and how it compares with what was expected.

    Args:
        seconds: in all.
        clock: gives seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self._expected = self._taken = 0.0

    @property
    def left_s(self) -> float:
        """What is left."""
        return self._end - self._clock()

    def allows(self, case: Case) -> bool:
        """Whether the case would end in time, going by how others compared with the estimate."""
        return self._likely_s(case) <= self.left_s

    def patience_s(self, case: Case) -> float:
        """How long to wait for a case that has begun."""
        return min(self.left_s, max(MIN_PATIENCE_S, PATIENCE * self._likely_s(case)))

    def note(self, case: Case, seconds: float) -> None:
        """Learn how long a case took."""
        self._expected += expected_s(case)
        self._taken += seconds

    def _likely_s(self, case: Case) -> float:
        slower = self._taken / self._expected if self._expected else 1.0
        return expected_s(case) * max(1.0, slower)
