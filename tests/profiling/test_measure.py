"""Profiles of this machine: every part is measured, and what they say can be looked up again."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import pytest
import torch

from gru_parallel.engine import graphs
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.placement import Cluster, Device, ModelSpec, cut_stack
from gru_parallel.placement.cluster import Link, Machine
from gru_parallel.planning import Options, Problem, Workload, search
from gru_parallel.planning.cell_costs import CellTimes, LayerKind, LinearKind
from gru_parallel.planning.profile import OF_RANKS, MeasuredCosts, Profile
from gru_parallel.profiling import engine_costs as engine_costs_of
from gru_parallel.profiling import measure as module
from gru_parallel.profiling import pipelines
from gru_parallel.profiling.cell_sizes import cell_sizes, few_cell_sizes, longest
from gru_parallel.profiling.engine_costs import of_first_ms
from gru_parallel.profiling.measure import measure, run_samples
from gru_parallel.profiling.pipelines import Precision, Sample, difference, median_of
from gru_parallel.schedule import Action, Cell, Event, Op, Timeline
from gru_parallel.stage.cpu_recorder import CPURecording
from gru_parallel.stage.lane import CPULane
from gru_parallel.stage.recorded_pass import RecordedPass

CPU = Device("cpu:0", "cpu")


def be_quick(patch: pytest.MonkeyPatch) -> None:
    """Run every sample once: what is measured is of no interest here."""
    patch.setattr(module, "MOST_SECONDS", 0.0)
    patch.setattr(pipelines, "MOST_STEPS", 1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    be_quick(monkeypatch)


def cluster() -> Cluster:
    return Cluster((CPU, Device("cpu:1", "cpu")), (Machine(2),))


def workload(**model: object) -> Workload:
    blocks = cut_stack(3, 4, 3, bidirectional=[False, True, False])
    return Workload(ModelSpec(blocks, **model), n_rows=2, n_steps=3)


def measured(work: Workload, cores: Sequence[str]) -> Profile:
    return measure(
        work,
        cluster(),
        cores,
        key={"rows": 2},
        precision=Precision(),
        make_optimizer=torch.optim.SGD,
    )


@pytest.mark.parametrize("replays", [True, False])
def test_what_lies_between_actions_is_measured_as_the_run_has_it(
    replays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool | None] = []

    class Noted(ThreadEngine):
        def __init__(self, *args: Any, graphs: bool | None = None) -> None:
            found.append(graphs)
            super().__init__(*args, graphs=graphs)

    monkeypatch.setattr(engine_costs_of, "ThreadEngine", Noted)
    engine_costs_of.engine_costs((CPU, CPU), replays=replays)
    # Left to the engine, stages on CPUs are not recorded.
    assert found == [None if replays else False]


def test_replays_are_timed_by_steps_of_two_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take no times of their own: what a step takes longer is due to its actions."""
    now_s = [0.0]

    def replay(_: CPURecording) -> None:
        now_s[0] += 0.002

    def copy_in(each: RecordedPass) -> None:
        now_s[0] += 0.003

    monkeypatch.setattr(engine_costs_of, "_N_CHUNKS", 2)
    monkeypatch.setattr(engine_costs_of, "perf_counter", lambda: now_s[0])
    monkeypatch.setattr(graphs, "BY_DEFAULT", frozenset({"cpu"}))
    monkeypatch.setattr(CPURecording, "replay", replay)
    monkeypatch.setattr(RecordedPass, "copy_in", copy_in)

    found = engine_costs_of.engine_costs((CPU, CPU), replays=True)

    assert found.action_ms == pytest.approx(2.0)
    assert found.start_ms == pytest.approx(2 * 3.0)


@pytest.fixture(scope="module")
def profile() -> Profile:
    """A profile of `workload()`, measured once for those that only read it."""
    with pytest.MonkeyPatch.context() as patch:
        be_quick(patch)
        n_threads = torch.get_num_threads()
        found = measured(workload(), ["fused"])
    # Workers set it for the whole process.
    assert torch.get_num_threads() == n_threads
    return found


def test_a_search_finds_all_that_it_asks_for_in_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    # To start ranks takes seconds; the other profile has measured them.
    monkeypatch.setattr(module, "hand_over_of_ranks", lambda: Link(0.2, 1e9))
    work = workload(n_channels=2, n_outputs=5)
    costs = MeasuredCosts(measured(work, ["auto", "lean"]), cluster())
    options = Options(1, ("one_f_one_b", "zero_bubble"), (1, 2), (1, 3), cores=("auto", "lean"))

    found = search(Problem(work, cluster(), costs, options))

    assert found.best.step_ms > 0
    assert found.n_settings == 2 * 2 * 2 * 2 * 2


def test_threads_and_ranks_hand_over_in_a_measured_time(profile: Profile) -> None:
    links = profile.links

    # Through Gloo, larger results take longer.
    assert links["cpu cpu"].latency_ms > 0
    assert links["cpu cpu"].bytes_per_s == float("inf")
    assert links[OF_RANKS].latency_ms > 0
    assert links[OF_RANKS].bytes_per_s < float("inf")


def test_what_an_engine_adds_to_an_action_and_a_step_is_a_little(profile: Profile) -> None:
    around = next(part for part in profile.parts if part.part is None)

    assert around.points[0].times.forward_ms > 0
    assert profile.start_ms > 0
    assert profile.optimizer_ns > 0


def test_each_layer_takes_time_in_each_part_of_a_step(profile: Profile) -> None:
    costs = MeasuredCosts(profile, cluster())

    for kind in (LayerKind(3, 4, core="fused"), LayerKind(4, 4, True, "fused")):
        times = costs.layer(kind, CPU, 2, 3, 1)
        # So small a layer may take less than what varies around it.
        assert sum(times) > 0
        assert costs.layer(kind, CPU, 2, 3, 2) != times


@pytest.mark.parametrize("core", ["native", "fused", "lean"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("drops", [False, True])
def test_every_kind_of_layer_can_be_timed(core: str, bidirectional: bool, drops: bool) -> None:
    kind = LayerKind(4, 4, bidirectional, core, drops)

    for devices in (("cpu:0",), ("cpu:0", "cpu:1")):
        times = Sample(kind, 1, devices, 2, 3).times(Precision(), replays=False)
        assert times.forward_ms > 0
        assert times.joint_ms > 0
        assert (times.weights_ms > 0) == (core != "native")


@pytest.mark.parametrize(
    "precision",
    [Precision(torch.float64), Precision(torch.bfloat16), Precision(autocast=torch.bfloat16)],
    ids=str,
)
@pytest.mark.parametrize("every_step", [False, True])
def test_ends_are_timed_in_every_number_type(precision: Precision, every_step: bool) -> None:
    kind = LayerKind(4, 4, core="fused")
    encoder, head = LinearKind(2, 4, True, False), LinearKind(4, 3, every_step, True)

    for ends in ({"encoder": encoder}, {"head": head}, {"encoder": encoder, "head": head}):
        sample = Sample(kind, 1, ("cpu:0",), 2, 3, **ends)
        times = sample.times(precision, replays=False)
        assert min(times) > 0


@pytest.mark.parametrize("core", ["native", "fused"])
def test_replays_can_be_timed_as_well(core: str) -> None:
    sample = Sample(LayerKind(4, 4, core=core), 1, ("cpu:0",), 2, 3)

    times = sample.times(Precision(), replays=True)

    assert min(times.forward_ms, times.joint_ms) > 0


def event(op: Op, stage: int, chunk: int, ms: float) -> Event:
    return Event(Action(stage, op, Cell(0, chunk)), 0.0, ms)


def test_times_are_those_of_the_work_and_not_of_its_queueing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[CPULane] = []
    monkeypatch.setattr(CPULane, "synchronize", lambda lane: waits.append(lane))

    Sample(LayerKind(2, 2), 1, ("cpu",), 2, 3).times(Precision(), replays=False)

    assert waits


def test_a_cell_takes_the_mean_of_those_between_the_first_and_the_head() -> None:
    sample = Sample(LayerKind(4, 4, core="fused"), 1, ("cpu:0", "cpu:1"), 2, 40)
    events = [
        # Its worker was asleep.
        *(event(Op.F, 0, chunk, ms) for chunk, ms in enumerate([20.0, 3.0, 90.0])),
        *(event(Op.F, 1, chunk, ms) for chunk, ms in enumerate([30.0, 5.0, 90.0])),
        # The first stage has no gradient of its input to work out.
        *(event(Op.B, 0, chunk, ms) for chunk, ms in enumerate([1.0, 1.0, 1.0])),
        *(event(Op.B, 1, chunk, ms) for chunk, ms in enumerate([8.0, 6.0, 90.0])),
    ]

    assert sample.n_chunks == 3
    assert sample.mean_ms(Timeline(2, tuple(events)), Op.F) == 4.0
    assert sample.mean_ms(Timeline(2, tuple(events)), Op.B) == 7.0


def test_what_waits_at_a_barrier_is_one_cell() -> None:
    sample = Sample(LayerKind(4, 4, bidirectional=True, core="fused"), 1, ("cpu:0",), 2, 40)
    events = (event(Op.F, 0, 0, 3.0), event(Op.B, 0, 0, 5.0))

    assert sample.n_chunks == 1
    assert [sample.mean_ms(Timeline(1, events), op) for op in (Op.F, Op.B)] == [3.0, 5.0]


def test_the_first_cell_of_a_step_takes_longer_and_that_is_the_steps() -> None:
    later = [event(Op.F, 0, chunk, ms) for chunk, ms in enumerate([5.0, 2.0, 3.0, 2.0])]
    as_fast = [event(Op.F, 0, chunk, ms) for chunk, ms in enumerate([1.0, 2.0])]

    assert of_first_ms(Timeline(1, tuple(later))) == 3.0
    assert of_first_ms(Timeline(1, tuple(as_fast))) == 0.0


def test_a_head_takes_what_the_last_chunk_takes_longer() -> None:
    head = LinearKind(4, 3, False, True)
    sample = Sample(LayerKind(4, 4), 1, ("cpu:0",), 2, 2, head=head, of_head=True)
    slower = [event(Op.F, 0, chunk, ms) for chunk, ms in enumerate([2.0] * 7 + [3.5])]
    as_fast = [event(Op.F, 0, chunk, ms) for chunk, ms in enumerate([2.0] * 7 + [1.5])]

    assert sample.n_chunks == 8
    assert sample.mean_ms(Timeline(1, tuple(slower)), Op.F) == 1.5
    assert sample.mean_ms(Timeline(1, tuple(as_fast)), Op.F) == 0.0


def test_an_encoder_is_on_the_first_stage() -> None:
    bare = Sample(LayerKind(4, 4), 1, ("cpu:0", "cpu:1"), 2, 2)
    encoder = LinearKind(3, 4, True, False)

    assert list(bare.stages(Op.F)) == [0, 1]
    assert list(Sample(bare.layer, 1, bare.devices, 2, 2, encoder).stages(Op.B)) == [0]
    # A layer that does not take what it gives out can only be the first.
    assert list(Sample(LayerKind(3, 4), 1, bare.devices, 2, 2).stages(Op.F)) == [0]


def test_the_median_of_each_time_counts() -> None:
    one, two = CellTimes(1, 9, 2, 2), CellTimes(2, 1, 3, 3)

    assert median_of([one, two, CellTimes(7, 8, 2, 9)]) == CellTimes(2, 8, 2, 3)
    assert difference(two, one) == CellTimes(1, 0, 1, 1)


@pytest.mark.parametrize(
    ("seconds", "most_seconds", "start", "n_run"),
    # Two turns take three seconds on this clock, which begins at 1.
    [
        (5.0, 20.0, 0.0, 8),
        (5.0, 20.0, -1.0, 7),
        (1.0, 20.0, 0.0, 6),
        (1.0, 1.0, 0.0, 4),
        (5.0, 0.0, 0.0, 3),
    ],
    ids=["the time is up", "begun earlier", "two turns", "a large model", "once"],
)
def test_samples_are_run_in_turns(
    monkeypatch: pytest.MonkeyPatch, seconds: float, most_seconds: float, start: float, n_run: int
) -> None:
    layer = LayerKind(4, 4)
    one, two, three = (Sample(layer, 1, ("cpu:0",), rows, 1) for rows in (1, 2, 3))
    clock = iter(range(1, 100))
    order: list[Sample] = []

    def times(sample: Sample, precision: Precision, *, replays: bool) -> CellTimes:
        order.append(sample)
        return CellTimes(*4 * [10.0 - len(order)])

    monkeypatch.setattr(Sample, "times", times)
    monkeypatch.setattr(module, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(module, "SECONDS", seconds)
    monkeypatch.setattr(module, "MOST_SECONDS", most_seconds)

    found = run_samples([one, two, one, three], Precision(), replays=False, start=start)

    # The largest first, which warms the process up and does not count.
    assert order == [three, *(3 * [one, two, three])[:n_run]]
    taken = [9.0 - number for number in range(1, n_run + 1)]
    assert [found[sample].forward_ms for sample in (one, two, three)] == [
        median(taken[start::3]) for start in range(3)
    ]


def test_cells_are_measured_from_the_whole_window_down_to_one_step_and_a_few_rows() -> None:
    sizes = cell_sizes(64, 48)

    assert [steps for rows, steps in sizes if rows == 64] == [1, 6, 48]
    assert {rows for rows, _ in sizes} == {64, 32, 16, 4}
    assert (4, 6) in sizes
    assert cell_sizes(1, 1) == [(1, 1)]
    assert len(cell_sizes(3, 5)) == len(set(cell_sizes(3, 5)))


@pytest.mark.parametrize(
    ("is_cpu", "n_rows", "n_steps", "longest_steps"),
    [
        (True, 4, 24, 24),
        (True, 1, 5000, 128),
        # 3 * 256 * 512 multiplications for each row and step.
        (True, 4, 5000, 95),
        (True, 32, 96, 11),
        (False, 32, 96, 96),
        (False, 32, 5000, 128),
        # At least four steps, while these are no more than four times as many multiplications.
        (True, 200, 96, 4),
        (True, 1024, 96, 1),
        (True, 4096, 96, 1),
    ],
)
def test_longer_cells_lie_on_the_same_line_and_are_not_measured(
    *, is_cpu: bool, n_rows: int, n_steps: int, longest_steps: int
) -> None:
    kinds = [LayerKind(7, 256), LayerKind(256, 256)]

    assert longest(kinds, n_rows, n_steps, is_cpu=is_cpu) == longest_steps


def test_cells_of_many_multiplications_are_run_in_few_chunks() -> None:
    few, many = (Sample(LayerKind(n, n), 1, ("cpu:0", "cpu:1"), 32, 6) for n in (16, 512))

    assert (few.n_chunks, many.n_chunks) == (8, 3)


def test_what_is_chosen_seldom_is_measured_at_the_ends() -> None:
    assert few_cell_sizes(64, 48) == [(64, 6), (64, 48), (8, 6), (8, 48)]
    assert few_cell_sizes(1, 1) == [(1, 1)]
