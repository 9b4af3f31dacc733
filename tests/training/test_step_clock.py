"""The clock of a run times training steps, and nothing else."""

from gru_parallel.schedule import Op
from gru_parallel.training.step_clock import StepClock
from tests.builders import make_plan
from tests.runs import fit

PLAN = make_plan([1, 2, 1], "one_f_one_b", n_micro_batches=3, n_chunks=4)


def test_the_clock_keeps_the_timeline_of_a_step_and_not_that_of_a_validation() -> None:
    clock = StepClock()
    fit(PLAN, callbacks=[clock])

    assert clock.timeline is not None
    assert clock.timeline.n_stages == 3
    done = [event.action.op for event in clock.timeline.events]
    # The last batch of an epoch, of 6 windows, has as many micro-batches as the others.
    assert done.count(Op.F) == done.count(Op.B) == 3 * 3 * 4
    assert clock.step_ms is not None
    assert clock.step_ms >= clock.timeline.step_ms > 0
    assert clock.samples_per_s is not None
    assert clock.samples_per_s > 0


def test_the_clock_of_a_run_on_one_device_has_times_but_no_timeline() -> None:
    clock = StepClock()
    fit(None, callbacks=[clock], max_epochs=1)

    assert clock.timeline is None
    assert clock.step_ms is not None


def test_the_clock_of_a_run_without_a_step_knows_nothing() -> None:
    clock = StepClock()

    assert clock.step_ms is clock.samples_per_s is clock.timeline is None
