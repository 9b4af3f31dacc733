"""The clock of a run times training steps, and nothing else."""

from statistics import median
from typing import Any

import lightning.pytorch as pl
import pytest

from gru_parallel.errors import EndOfRunError
from gru_parallel.placement import Plan
from gru_parallel.schedule import Op
from gru_parallel.training import step_clock
from gru_parallel.training.step_clock import StepClock
from gru_parallel.training.strategy import engine_of
from tests.builders import make_plan
from tests.runs import N_BATCHES, fit

PLAN = make_plan([1, 2, 1], "one_f_one_b", n_micro_batches=3, n_chunks=4)
UNCUT = make_plan([1, 2, 1])


@pytest.fixture(scope="module")
def clock() -> StepClock:
    """The clock of a run, for those that only read it."""
    found = StepClock()
    fit(PLAN, callbacks=[found])
    return found


def test_the_clock_keeps_the_timeline_of_a_step_and_not_that_of_a_validation(
    clock: StepClock,
) -> None:
    typical = clock.typical
    assert typical is not None
    assert typical.timeline.n_stages == 3
    done = [event.action.op for event in typical.timeline.events]
    # The last batch of an epoch, of 6 windows, has as many micro-batches as the others.
    assert done.count(Op.F) == done.count(Op.B) == 3 * 3 * 4
    assert typical.step_ms >= typical.timeline.step_ms > 0
    assert clock.step_ms is not None
    assert clock.samples_per_s is not None
    assert clock.samples_per_s > 0


def test_the_clock_of_a_run_on_one_device_has_times_but_no_timeline() -> None:
    clock = StepClock()
    fit(None, callbacks=[clock], max_epochs=1)

    assert clock.typical is None
    assert clock.step_ms is not None


def test_the_clock_of_a_run_without_a_step_knows_nothing() -> None:
    clock = StepClock()

    assert clock.step_ms is clock.samples_per_s is clock.typical is None
    assert clock.n_steps == 0


def test_the_timelines_that_are_kept_are_spread_over_the_whole_run() -> None:
    seen = []

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
            seen.append([step.number for step in clock._kept])

    clock = StepClock(n_warm_up=2, most_kept=4)
    fit(UNCUT, callbacks=[clock, Look()], max_epochs=4, limit_val_batches=0)

    assert seen[1] == [1, 2]
    assert seen[5] == [3, 4, 5, 6]
    assert seen[6] == [3, 5, 7]
    assert seen[9] == [3, 5, 7, 9]
    assert seen[10] == [3, 7, 11]
    assert seen[-1] == [3, 7, 11, 15] or seen[-1] == [3, 11, 19]
    assert clock.n_steps == 18


def test_the_typical_step_is_the_median_one_of_those_kept(clock: StepClock) -> None:
    # As many as the run has, so that both tell of the same steps.
    assert clock.typical is not None
    assert clock.n_steps == 2 * N_BATCHES - 3
    assert clock.typical.step_ms == clock.step_ms
    assert clock.typical.number > 3


def test_of_accumulated_batches_those_count_after_which_the_optimiser_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each batch begins and ends a second later than what comes before it: it takes one.
    moments = iter(range(1000))
    monkeypatch.setattr(step_clock, "perf_counter", lambda: float(next(moments)))
    clock = StepClock()

    fit(UNCUT, callbacks=[clock], limit_val_batches=0, accumulate_grad_batches=2)

    # Of two epochs of batches 1+2, 3+4 and 5, of 16 windows but for the last with 6.
    assert clock.n_steps == 5
    assert [step.number for step in clock._kept] == [2, 3, 4, 5, 6]
    assert [step.samples_per_s for step in clock._steps] == [16, 6, 16, 16, 6]


def test_on_accelerators_medians_are_of_steps_that_are_not_timed_action_by_action(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A plan of accelerators, which are CPUs here.
    monkeypatch.setattr(Plan, "all_devices", ("cuda:0", "cuda:1"))
    was_measured = []

    class Look(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *rest: Any) -> None:
            engine = engine_of(trainer)
            assert engine is not None
            was_measured.append(engine.measure)

    clock = StepClock()
    fit(UNCUT, callbacks=[clock, Look()], limit_val_batches=0)

    assert was_measured[3:] == [True, False] * 3 + [True]
    assert [step.number for step in clock._kept] == [4, 6, 8, 10]
    assert clock.n_steps == 3
    assert clock.step_ms == median(step.step_ms for step in clock._steps[1::2])
    assert clock.samples_per_s == median(step.samples_per_s for step in clock._steps[1::2])


def test_the_only_step_counts_on_accelerators_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan, "all_devices", ("cuda:0",))
    clock = StepClock()

    fit(UNCUT, callbacks=[clock], max_epochs=1, limit_train_batches=1, limit_val_batches=0)

    assert clock.n_steps == 1
    assert clock.typical is not None


def test_a_run_that_is_interrupted_knows_the_peak_of_memory_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupt(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
            raise EndOfRunError("Stopped.")

    monkeypatch.setattr(step_clock, "peak_bytes", lambda stages: {s.index: 7 for s in stages})
    clock = StepClock()

    with pytest.raises(EndOfRunError):
        fit(UNCUT, callbacks=[clock, Interrupt()])

    assert clock.peak_bytes == {0: 7, 1: 7, 2: 7}


def test_the_peak_of_memory_is_looked_for_after_the_first_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moments: list[str | int] = []
    clock = StepClock()

    def forget(stages: Any) -> None:
        moments.append(clock.n_steps)

    def peaks(stages: Any) -> dict[int, int]:
        moments.append("end")
        return {stage.index: 100 * stage.index for stage in stages}

    monkeypatch.setattr(step_clock, "forget_peaks", forget)
    monkeypatch.setattr(step_clock, "peak_bytes", peaks)
    fit(UNCUT, callbacks=[clock], max_epochs=1)

    # Once, when the steps that count begin.
    assert moments == [0, "end"]
    assert clock.peak_bytes == {0: 0, 1: 100, 2: 200}
    assert clock.is_warm


def test_a_clock_of_no_more_than_the_first_steps_is_not_warm() -> None:
    clock = StepClock(n_warm_up=N_BATCHES)
    fit(UNCUT, callbacks=[clock], max_epochs=1, limit_val_batches=0)

    assert clock.n_steps == N_BATCHES
    assert not clock.is_warm
