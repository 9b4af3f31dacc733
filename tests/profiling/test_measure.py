"""Profiles of this machine: every part is measured, and what they say can be looked up again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from gru_parallel.placement import Cluster, Device, ModelSpec, cut_stack
from gru_parallel.placement.cluster import Machine
from gru_parallel.planning import Options, Problem, Workload, search
from gru_parallel.planning.cell_costs import LayerKind, LinearKind
from gru_parallel.planning.profile import OF_RANKS, MeasuredCosts, Profile
from gru_parallel.profiling import measure as module
from gru_parallel.profiling.measure import measure
from gru_parallel.profiling.subjects import WAITING_SHARE, CPUStopwatch, Precision, subject_of
from gru_parallel.profiling.tables import Effort, cell_sizes, few_cell_sizes, measure_points

CPU = Device("cpu:0", "cpu")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured is of no interest here."""
    monkeypatch.setattr(module, "SECONDS", 0.0)


QUICK = Effort(seconds=0.0, n_passes=2)


def cluster() -> Cluster:
    return Cluster((CPU, Device("cpu:1", "cpu")), (Machine(2),))


def workload(**model: object) -> Workload:
    blocks = cut_stack(3, 4, 3, bidirectional=[False, True, False])
    return Workload(ModelSpec(blocks, **model), n_rows=4, n_steps=6)  # type: ignore[arg-type]


def measured(work: Workload, cores: Sequence[str]) -> Profile:
    return measure(
        work,
        cluster(),
        cores,
        key={"rows": 4},
        precision=Precision(),
        make_optimizer=torch.optim.SGD,
    )


@pytest.fixture(scope="module")
def profile() -> Profile:
    """A profile of `workload()`, measured once for those that only read it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SECONDS", 0.0)
        return measured(workload(), ["fused"])


def test_a_search_finds_all_that_it_asks_for_in_a_profile() -> None:
    work = workload(n_channels=2, n_outputs=5)
    costs = MeasuredCosts(measured(work, ["auto", "lean"]), cluster())
    options = Options(
        1, ("one_f_one_b", "zero_bubble"), (1, 2, 4), (1, 2, 6), cores=("auto", "lean")
    )

    found = search(Problem(work, cluster(), costs, options))

    assert found.best.step_ms > 0
    assert found.n_settings == 2 * 2 * 2 * 3 * 3


def test_threads_and_ranks_hand_over_in_a_measured_time(profile: Profile) -> None:
    links = profile.links

    # Through Gloo it takes longer, and more for larger results.
    assert 0 < links["cpu cpu"].latency_ms < 20
    assert links["cpu cpu"].bytes_per_s == float("inf")
    assert 0 < links[OF_RANKS].latency_ms < 100
    assert 1e6 < links[OF_RANKS].bytes_per_s < 1e12


def test_what_an_engine_adds_to_an_action_and_a_step_is_a_little(profile: Profile) -> None:
    around = next(part for part in profile.parts if part.part is None)

    assert 0 < around.points[0].times.forward_ms < 20
    assert 0 < profile.start_ms < 200
    assert 0 < profile.optimizer_ns < 1e6


def test_each_layer_takes_time_in_each_part_of_a_step(profile: Profile) -> None:
    costs = MeasuredCosts(profile, cluster())

    for kind in (LayerKind(3, 4, core="fused"), LayerKind(4, 4, True, "fused")):
        times = costs.layer(kind, CPU, 4, 6, 1)
        assert min(times) > 0
        assert costs.layer(kind, CPU, 4, 6, 2) != times


@pytest.mark.parametrize("core", ["native", "fused", "lean"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("drops", [False, True])
def test_every_kind_of_layer_can_be_measured(core: str, bidirectional: bool, drops: bool) -> None:
    kind = LayerKind(3, 4, bidirectional, core, drops)

    points = measure_points(
        lambda: subject_of([kind], CPU, Precision()),
        [(2, 1), (2, 3)],
        2,
        separates_weights=core != "native",
        most_steps=6,
        effort=QUICK,
    )

    assert [(point.rows, point.steps) for point in points] == [(2, 1), (2, 3)]
    for point in points:
        assert point.times.forward_ms > 0
        assert point.times.joint_ms > 0
        assert (point.times.weights_ms > 0) == (core != "native")


@pytest.mark.parametrize(
    "precision",
    [Precision(torch.float64), Precision(torch.bfloat16), Precision(autocast=torch.bfloat16)],
    ids=str,
)
@pytest.mark.parametrize("every_step", [False, True])
def test_ends_are_measured_in_every_number_type(precision: Precision, every_step: bool) -> None:
    kind = LayerKind(4, 4, core="fused")
    encoder, head = LinearKind(2, 4, True, False), LinearKind(4, 3, every_step, True)

    for ends in ({"encoder": encoder}, {"head": head}, {"encoder": encoder, "head": head}):
        subject = subject_of([kind], CPU, precision, **ends)
        spec = subject.spec(2, 3, 2, separates_weights=False)
        forward, backward, weights = subject.run(spec, subject.passes(spec))
        assert min(forward, backward) > 0
        assert weights == 0


@pytest.mark.parametrize("core", ["native", "fused"])
def test_replays_can_be_timed_as_well(core: str) -> None:
    head = LinearKind(4, 3, False, True)
    for ends in ({}, {"head": head}):
        subject = subject_of([LayerKind(4, 4, core=core)], CPU, Precision(), **ends, replays=True)
        spec = subject.spec(2, 3, 2, separates_weights=core != "native")
        make_pass = subject.passes(spec)
        first, second = (subject.run(spec, make_pass) for _ in range(2))
        assert min(first[:2]) > 0
        assert min(second[:2]) > 0


def test_cells_are_measured_from_the_whole_window_down_to_two_steps_and_one_row() -> None:
    sizes = cell_sizes(64, 48)

    assert [steps for rows, steps in sizes if rows == 64] == [2, 5, 16, 48]
    assert {rows for rows, _ in sizes} == {64, 16, 4, 1}
    assert (1, 6) in sizes
    assert cell_sizes(1, 1) == [(1, 1)]


def test_what_is_chosen_seldom_is_measured_at_the_ends() -> None:
    assert few_cell_sizes(64, 48) == [(64, 2), (64, 6), (64, 48), (8, 6), (8, 48)]
    assert few_cell_sizes(1, 1) == [(1, 1)]


def test_threads_that_wait_for_each_other_take_longer_than_their_cpu_time() -> None:
    alone, beside = CPUStopwatch(is_alone=True), CPUStopwatch(is_alone=False)

    assert alone.ms((1.0, 5.0), (1.002, 5.006)) == pytest.approx(2.0)
    assert beside.ms((1.0, 5.0), (1.002, 5.006)) == pytest.approx(2.0 + WAITING_SHARE * 4.0)


def test_what_fails_in_a_thread_is_raised() -> None:
    def broken() -> None:
        raise RuntimeError("no stage")

    with pytest.raises(RuntimeError, match="no stage"):
        measure_points(
            broken,  # type: ignore[arg-type]
            [(1, 1)],
            1,
            separates_weights=False,
            most_steps=1,
            effort=QUICK,
        )


def test_measuring_leaves_the_number_of_threads_and_random_numbers_of_others_alone() -> None:
    n_threads = torch.get_num_threads()

    measured(workload(), ["fused"])

    assert torch.get_num_threads() == n_threads


def test_weights_are_left_without_gradients() -> None:
    kind = LayerKind(4, 4, core="fused")
    subject = subject_of([kind], CPU, Precision())
    spec = subject.spec(2, 3, 2, separates_weights=True)
    subject.run(spec, subject.passes(spec))

    assert all(p.grad is None for m in subject.stage.modules.all_modules for p in m.parameters())
