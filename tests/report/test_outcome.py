"""What was promised of each stage beside what came of it, and when that is worth a warning."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from gru_parallel.placement import Cluster, Device, ModelSpec, cut_stack
from gru_parallel.placement.cluster import Machine
from gru_parallel.planning import Planned, Workload
from gru_parallel.report import Promise, StageOutcome, slow_stages, stage_outcomes
from gru_parallel.schedule import Timeline
from tests.affine_costs import AffineCosts
from tests.builders import make_plan

Simulated = Callable[..., Timeline]

STAGE = StageOutcome("cpu:0", "0", 10.0, 11.9, 100, 10, None)


def planned() -> Planned:
    plan = make_plan([1, 3], "gpipe", 1, 4)
    work = Workload(ModelSpec(cut_stack(4, 4, 4)), 4, 8)
    devices = tuple(Device(name, "cpu") for name in plan.all_devices)
    return Planned(plan, work, Cluster(devices, (Machine(8),)), AffineCosts(once_ms=5.0))


def test_a_promise_is_what_the_plan_predicts() -> None:
    found, promise = planned(), Promise.of(planned())

    assert promise.timeline == found.timeline
    assert promise.memory_bytes == found.stage_memory_bytes
    # The optimiser takes 5 ms.
    assert promise.step_ms == found.step_ms == pytest.approx(found.timeline.step_ms + 5.0)
    assert promise.costs_source == "made up"


def test_each_stage_has_its_busy_time_and_its_memory(simulated: Simulated) -> None:
    promise = Promise.of(planned())
    # F of 1 ms and B of 2, four times, wherever hand-overs and waits are.
    first, second = stage_outcomes(promise, simulated(2, 1, 4, lowered=True), {1: 2**20})

    assert (first.device, first.layers) == ("cpu:0", "0")
    assert (second.device, second.layers) == ("cpu:1", "1-3")
    assert second.predicted_ms == pytest.approx(3 * first.predicted_ms)
    assert first.measured_ms == second.measured_ms == pytest.approx(12.0)
    assert (first.measured_memory_bytes, second.measured_memory_bytes) == (None, 2**20)
    assert first.predicted_memory_bytes == promise.memory_bytes[0]
    assert 0 < first.predicted_activation_bytes < first.predicted_memory_bytes


def test_without_a_measured_step_nothing_is_measured_and_nothing_slow() -> None:
    stages = stage_outcomes(Promise.of(planned()), None, {})

    assert [stage.measured_ms for stage in stages] == [None, None]
    assert slow_stages(stages, "analytic") == []


@pytest.mark.parametrize(("measured_ms", "n_warnings"), [(11.9, 0), (12.0, 1), (1.0, 0)])
def test_a_fifth_above_the_plan_is_slow(measured_ms: float, n_warnings: int) -> None:
    stage = replace(STAGE, measured_ms=measured_ms)

    assert len(slow_stages([stage], "analytic")) == n_warnings
    assert stage.is_slow == bool(n_warnings)


def test_the_warning_names_the_worst_stage_both_times_a_cause_and_a_remedy() -> None:
    stages = [
        replace(STAGE, measured_ms=13.0),
        STAGE,
        replace(STAGE, device="cpu:2", measured_ms=25.0),
    ]

    (said,) = slow_stages(stages, "analytic")

    assert said.startswith(
        "Stage 2 on cpu:2 took 25.0 ms per step, 2.5 times the 10.0 ms planned (slow, too: 0)."
    )
    assert "not measured here; plan=measure measures before it plans." in said


def test_under_ranks_the_remedy_is_one_that_they_do_not_refuse() -> None:
    (said,) = slow_stages([replace(STAGE, measured_ms=25.0)], "analytic", over_ranks=True)

    assert "; gru-parallel plan plan=measure engine=threads measures for the next run." in said


def test_where_devices_are_described_the_remedy_is_to_take_them_as_they_are() -> None:
    (said,) = slow_stages([replace(STAGE, measured_ms=25.0)], "analytic", is_described=True)

    assert "; cluster=local plan=measure measures before it plans." in said


def test_where_the_plan_was_measured_the_machine_may_have_changed() -> None:
    (said,) = slow_stages([replace(STAGE, measured_ms=25.0)], "measured on 2026-11-27")

    assert "since its profile was measured on 2026-11-27; plan=measure" in said
    assert "(slow, too" not in said
