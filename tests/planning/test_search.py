"""The search, against every plan that there is."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gru_parallel.placement import Cluster, Device, ModelSpec, Plan, StagePlan, cut_stack
from gru_parallel.placement.cluster import Link, Machine
from gru_parallel.planning import Options, Planned, Problem, Workload, search
from gru_parallel.planning.cut import all_cuts
from gru_parallel.planning.options import Branch, Setting
from gru_parallel.planning.search import MOST_ACTIONS
from tests.affine_costs import AffineCosts

# The package has the function under this name.
module = importlib.import_module("gru_parallel.planning.search")

N_ROWS, N_STEPS = 8, 12
ALL = Options(1, ("gpipe", "one_f_one_b", "zero_bubble"), (1, 2, 4), (1, 2, 4, 12), cores=("lean",))


def cluster(*kinds: str, memory_bytes: int | None = None) -> Cluster:
    devices = (
        Device(f"cpu:{index}", kind, memory_bytes=memory_bytes) for index, kind in enumerate(kinds)
    )
    return Cluster(tuple(devices), (Machine(len(kinds)),))


def problem(
    n_layers: int,
    devices: Cluster,
    costs: AffineCosts,
    options: Options = ALL,
    **model: object,
) -> Problem:
    spec = ModelSpec(cut_stack(4, 4, n_layers, h_0="zeros"), **model)
    return Problem(Workload(spec, N_ROWS, N_STEPS), devices, costs, options)


def settings_of(given: Problem) -> list[Setting]:
    """List the settings of all branches, those with few stages first."""
    settings = [setting for branch in given.branches() for setting in settings_in(branch)]
    return sorted(settings, key=lambda setting: setting.n_stages)


def settings_in(branch: Branch) -> list[Setting]:
    counts = range(branch.fewest.n_stages, branch.most.n_stages + 1)
    return [replace(branch.fewest, n_stages=count) for count in counts]


def least_ms(given: Problem, setting: Setting) -> float:
    return given.least_ms(Branch.of(setting))


def every_plan(given: Problem) -> list[Planned]:
    """List all settings with all cuts and all orders of devices."""
    devices = given.cluster.devices
    kinds = list(dict.fromkeys(device.kind for device in devices))
    by_kind = [[d.name for d in devices if d.kind == kind] for kind in kinds]
    plans = []
    for setting in settings_of(given):
        counts = list(map(len, by_kind))
        every = all_cuts(given.n_blocks, counts, setting.n_stages, limit=10_000)
        assert every is not None
        for of_stages, sizes in every:
            free = [iter(names) for names in by_kind]
            names = [next(free[kind]) for kind in of_stages]
            starts = [sum(sizes[:stage]) for stage in range(len(sizes))]
            stages = tuple(map(StagePlan, names, starts, sizes))
            plans.append(given.planned(Plan(given.n_blocks, setting.grid, stages, setting.core)))
    return plans


COSTS = st.builds(
    AffineCosts,
    row_step_ms=st.sampled_from([0.01, 0.1]),
    cell_ms=st.sampled_from([0.0, 0.1, 2.0]),
    ends_ms=st.sampled_from([0.0, 0.05, 0.5]),
    around_ms=st.sampled_from([0.0, 0.3]),
    slower=st.sampled_from([{}, {"slow": 2.0}, {"slow": 1.3}]),
    hand_over=st.sampled_from([Link(0.0, float("inf")), Link(0.2, 1e5), Link(0.1, 2e3)]),
    once_ms=st.sampled_from([0.0, 1.0]),
    crowded=st.sampled_from([0.0, 0.4]),
)


@settings(max_examples=12)
@given(
    COSTS, st.integers(1, 5), st.lists(st.sampled_from(["fast", "slow"]), min_size=1, max_size=3)
)
def test_no_plan_is_faster_than_the_one_found(
    costs: AffineCosts, n_layers: int, kinds: list[str]
) -> None:
    options = replace(ALL, n_micro_batches=(1, 4), n_chunks=(1, 3, 12))
    given_ = problem(n_layers, cluster(*kinds), costs, options, n_channels=2, n_outputs=3)

    found = search(given_)

    best = min(planned.step_ms for planned in every_plan(given_))
    assert found.best.step_ms == pytest.approx(best)
    assert found.bound_ms == pytest.approx(best)


@settings(max_examples=30)
@given(COSTS, st.integers(1, 6), st.sampled_from(["fast", "slow"]), st.integers(1, 4))
def test_no_step_takes_less_than_its_bound(
    costs: AffineCosts, n_layers: int, kind: str, n_devices: int
) -> None:
    given_ = problem(n_layers, cluster(*[kind] * n_devices), costs, n_channels=2, n_outputs=3)

    for setting in settings_of(given_)[:: 1 + n_layers]:
        bound_ms = least_ms(given_, setting)
        plans, _ = given_.plans(setting)
        for planned in map(given_.planned, plans):
            assert planned.step_ms >= bound_ms * (1 - 1e-9)


@settings(max_examples=30)
@given(
    COSTS,
    st.integers(1, 9),
    st.lists(st.sampled_from(["fast", "slow"]), min_size=1, max_size=6),
    st.booleans(),
)
def test_the_bound_of_a_branch_holds_for_all_of_its_settings(
    costs: AffineCosts, n_layers: int, kinds: list[str], bidirectional: bool
) -> None:
    options = replace(ALL, n_micro_batches=(1, 4), n_chunks=(1, 12), data_parallel=(1, 2))
    spec = ModelSpec(cut_stack(4, 4, n_layers, h_0="zeros", bidirectional=bidirectional))
    given_ = Problem(Workload(spec, N_ROWS, N_STEPS), cluster(*kinds), costs, options)

    for branch in given_.branches():
        bounds = [least_ms(given_, setting) for setting in settings_in(branch)]
        assert given_.least_ms(branch) <= min(bounds) * (1 + 1e-9)
        halves = branch.halves() if len(branch) > 1 else ()
        assert [s for half in halves for s in settings_in(half)] in ([], settings_in(branch))


@pytest.mark.parametrize("n_bytes", [3_000, 4_000, 20_000, 60_000, 100_000])
@pytest.mark.parametrize("is_shared", [False, True])
def test_a_branch_may_fit_where_one_of_its_settings_may(n_bytes: int, is_shared: bool) -> None:
    devices = cluster(*["cpu"] * 6, memory_bytes=None if is_shared else n_bytes)
    if is_shared:
        devices = replace(devices, machines=(Machine(6, n_bytes),))
    given_ = problem(6, devices, AffineCosts())
    fits = [
        (given_.may_fit(branch), [given_.may_fit(Branch.of(s)) for s in settings_in(branch)])
        for branch in given_.branches()
    ]

    assert all(whole or not any(each) for whole, each in fits)


def test_the_bound_is_what_a_step_takes_with_one_micro_batch_and_equal_stages() -> None:
    options = Options(1, ("one_f_one_b",), (1,), (1, 4, 12))
    given_ = problem(6, cluster("cpu", "cpu", "cpu"), AffineCosts(cell_ms=1.0), options)

    for setting in settings_of(given_):
        if setting.n_stages in (1, 2, 3):
            plans, _ = given_.plans(setting)
            least = min(given_.planned(plan).step_ms for plan in plans)
            assert least_ms(given_, setting) == pytest.approx(least)


@pytest.mark.parametrize("link", [Link(0.2, 1e6), Link(0.0, 1e4), Link(0.3, 1e3)])
def test_the_bound_counts_what_crosses_the_links(link: Link) -> None:
    options = Options(1, ("one_f_one_b",), (1,), (1, 4, 12))
    costs = AffineCosts(cell_ms=1.0, hand_over=link)
    given_ = problem(6, cluster("cpu", "cpu", "cpu"), costs, options)

    for setting in settings_of(given_):
        if setting.n_stages in (1, 2, 3):
            plans, _ = given_.plans(setting)
            least = min(given_.planned(plan).step_ms for plan in plans)
            assert least_ms(given_, setting) == pytest.approx(least)


@pytest.mark.parametrize("bidirectional", [True, [False, True, False]])
def test_the_bound_counts_what_crosses_the_links_of_barriers(bidirectional: object) -> None:
    options = Options(1, ("gpipe", "zero_bubble"), (1, 2), (1, 4), cores=("lean",))
    costs = AffineCosts(1e-3, hand_over=Link(0.1, 1e3))
    spec = ModelSpec(cut_stack(4, 4, 3, h_0="zeros", bidirectional=bidirectional))
    devices = cluster("cpu", "cpu", "cpu")
    given_ = Problem(Workload(spec, N_ROWS, N_STEPS), devices, costs, options)

    for setting in settings_of(given_):
        bound_ms = least_ms(given_, setting)
        for planned in map(given_.planned, given_.plans(setting)[0]):
            assert planned.step_ms >= bound_ms * (1 - 1e-9)
            if setting.n_stages > 1 and setting.grid.n_micro_batches == 1:
                # There is nearly nothing to compute.
                assert bound_ms > 0.4 * planned.step_ms


@pytest.mark.parametrize("names", [("gpipe",), ("zero_bubble",)])
def test_no_step_of_replicas_takes_less_than_its_bound(names: tuple[str, ...]) -> None:
    options = Options(1, names, (1, 2), (1, 4), cores=("lean",), data_parallel=(1, 2, 4))
    costs = AffineCosts(cell_ms=1.0, hand_over=Link(0.1, 1e4))
    given_ = problem(4, cluster(*["cpu"] * 4), costs, options)

    for setting in settings_of(given_):
        steps = [given_.planned(plan).step_ms for plan in given_.plans(setting)[0]]
        least = least_ms(given_, setting)
        assert min(steps) >= least * (1 - 1e-9)
        if setting.n_stages == 1 and setting.grid.n_micro_batches == 1:
            assert min(steps) == pytest.approx(least)


def test_a_slow_link_between_machines_is_not_crossed_for_a_gain_that_it_takes_back() -> None:
    devices = tuple(Device(f"cuda:{index}", "card", machine=index // 2) for index in range(4))
    both = Cluster(devices, (Machine(), Machine()), Link(0.0, 1e9), Link(0.01, 3e3))
    options = Options(1, ("one_f_one_b",), (1,), (1, 4, 12))

    found = search(problem(4, both, AffineCosts(0.5, cluster=both), options)).best

    # Each of the links of four stages would carry more bytes than their gain is worth.
    assert found.plan.devices == ("cuda:0", "cuda:1")


def test_chunks_that_cost_much_are_few_and_free_ones_many() -> None:
    def n_chunks(cell_ms: float) -> int:
        given_ = problem(4, cluster("cpu", "cpu"), AffineCosts(0.1, cell_ms))
        return search(given_).best.plan.grid.n_chunks

    assert n_chunks(0.0) == 12
    assert n_chunks(1.0) < 12
    assert n_chunks(100.0) == 1


def test_a_model_whose_hand_overs_cost_more_than_they_gain_is_not_split() -> None:
    costs = AffineCosts(0.001, hand_over=Link(1.0, float("inf")))

    found = search(problem(4, cluster("cpu", "cpu"), costs))

    assert found.best.plan.n_stages == 1


def test_the_faster_device_gets_more_layers() -> None:
    found = search(problem(6, cluster("slow", "fast"), AffineCosts(slower={"slow": 2.0})))

    sizes = {stage.device: stage.n_blocks for stage in found.best.plan.stages}
    assert sizes == {"cpu:0": 2, "cpu:1": 4}


def test_a_plan_that_does_not_fit_is_passed_over_for_one_that_does() -> None:
    roomy = problem(
        4, cluster("cpu", "cpu"), AffineCosts(), replace(ALL, recompute=("none", "cell"))
    )
    free = search(roomy).best
    most = max(free.stage_memory_bytes)

    tight = replace(roomy, cluster=cluster("cpu", "cpu", memory_bytes=most - 1))
    found = search(tight).best

    assert found.fits
    assert not replace(free, cluster=tight.cluster).fits
    assert found.step_ms >= free.step_ms


def test_the_order_of_devices_is_improved_where_their_memory_differs() -> None:
    options = Options(1, ("one_f_one_b",), (4,), (1,), cores=("lean",))
    roomy = problem(5, cluster("cpu", "cpu"), AffineCosts(), options)
    stages = StagePlan("cpu:1", 0, 3), StagePlan("cpu:0", 3, 2)
    (setting,) = (each for each in settings_of(roomy) if each.n_stages == 2)
    swapped = roomy.planned(Plan(5, setting.grid, stages, setting.core))
    sizes = dict(zip(("cpu:1", "cpu:0"), swapped.stage_memory_bytes, strict=True))
    devices = (Device(name, "cpu", memory_bytes=sizes[name]) for name in ("cpu:0", "cpu:1"))

    found = search(replace(roomy, cluster=Cluster(tuple(devices), (Machine(2),))))

    assert found.best.fits
    assert found.best.step_ms <= swapped.step_ms


def test_where_nothing_fits_the_stage_and_what_it_lacks_are_named() -> None:
    tiny = problem(4, cluster("cpu", "cpu", memory_bytes=10), AffineCosts())

    found = search(tiny)

    assert not found.best.fits
    assert "cpu:0" in str(found.best.shortages[0])


@pytest.mark.parametrize("is_foreseen", [True, False])
def test_a_plan_that_fits_is_found_behind_many_that_do_not(
    is_foreseen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_foreseen:
        monkeypatch.setattr(Problem, "may_fit", lambda *_: True)
    names, again = ("gpipe", "one_f_one_b"), ("none", "cell")
    options = replace(ALL, schedules=names, recompute=again, n_micro_batches=(1,))
    free = search(problem(12, cluster(*["cpu"] * 4), AffineCosts(), options)).best
    # Less than any plan needs that does not run F again.
    devices = cluster(*["cpu"] * 4, memory_bytes=14_000)

    # With effort for few of them.
    found = search(problem(12, devices, AffineCosts(), options), most_actions=500)

    assert free.plan.grid.recompute == "none"
    assert found.best.fits
    assert found.best.plan.grid.recompute == "cell"


@pytest.mark.parametrize("most_actions", [MOST_ACTIONS, 500])
@pytest.mark.parametrize("room", [1.02, 1.6])
def test_stages_that_share_memory_are_as_few_as_fit(room: float, most_actions: int) -> None:
    # With eight micro-batches, one stage keeps one of them, and four stages up to four.
    options = Options(1, ("one_f_one_b",), (1, 4, 8), (1, 4), cores=("lean",))
    free = problem(4, cluster(*["cpu"] * 4), AffineCosts(0.01, cell_ms=1.0), options)
    plans = [free.planned(plan) for each in settings_of(free) for plan in free.plans(each)[0]]
    n_bytes = round(room * min(sum(planned.stage_memory_bytes) for planned in plans))
    machine = Machine(4, n_bytes)
    tight = replace(free, cluster=replace(free.cluster, machines=(machine,)))

    found = search(tight, most_actions)

    assert found.best.fits
    if most_actions == MOST_ACTIONS:
        fit = [planned.step_ms for planned in plans if sum(planned.stage_memory_bytes) <= n_bytes]
        assert found.best.step_ms == pytest.approx(min(fit))


def test_schedules_of_very_many_cells_are_left_out_where_there_are_coarser_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_OF_ONE", 40)
    monkeypatch.setattr(module, "ENOUGH_CELLS", 6)
    options = Options(1, ("one_f_one_b",), (1,), (1, 4, 12), cores=("lean",))
    free = problem(4, cluster("cpu", "cpu"), AffineCosts(), options)
    given_by_hand = replace(free, options=replace(options, n_chunks=(12,)))

    found, only = search(free), search(given_by_hand)

    assert len(found.best.timeline.events) <= 40
    # What was left out may be faster, and is.
    assert found.bound_ms <= only.best.step_ms < found.best.step_ms
    assert len(only.best.timeline.events) == 48


def test_a_device_map_is_kept_and_the_rest_is_found() -> None:
    stages = (StagePlan("cpu:1", 0, 3), StagePlan("cpu:0", 3, 1))
    given_ = problem(4, cluster("cpu", "cpu"), AffineCosts(), replace(ALL, stages=stages))

    best = search(given_).best

    assert best.plan.stages == stages
    assert best.plan.grid.n_chunks == 12


def test_the_best_of_all_settings_is_found_for_blocks_with_two_devices() -> None:
    stages = (StagePlan("cpu:0", 0, 1, "cpu:1"), StagePlan("cpu:2", 1, 2))
    options = Options(1, ("one_f_one_b",), (1, 2, 4, 8), (1,), stages=stages)
    spec = ModelSpec(cut_stack(4, 4, 3, h_0="zeros", bidirectional=[True, True, False]))
    work = Workload(spec, N_ROWS, N_STEPS)
    given_ = Problem(work, cluster("cpu", "cpu", "cpu"), AffineCosts(1.0, 4.0), options)

    found = search(given_)

    plans = [plan for setting in settings_of(given_) for plan in given_.plans(setting)[0]]
    steps = [given_.planned(plan).step_ms for plan in plans]
    assert found.best.step_ms == pytest.approx(min(steps))
    bounds = [least_ms(given_, setting) for setting in settings_of(given_)]
    assert all(least <= step for least, step in zip(bounds, steps, strict=True))


def test_more_replicas_are_taken_where_they_are_faster() -> None:
    options = replace(ALL, data_parallel=(1, 2), n_chunks=(1,), n_micro_batches=(1,))
    given_ = problem(2, cluster("cpu", "cpu"), AffineCosts(0.1), options)

    assert search(given_).best.plan.data_parallel == 2


def test_a_thousand_layers_on_64_devices_are_planned_with_a_stated_bound() -> None:
    cards = Cluster(tuple(Device(f"cuda:{index}", "card") for index in range(64)))
    options = Options(1, ("one_f_one_b",), (1, 4), (16, 64))
    deep = problem(1000, cards, AffineCosts(0.01, 0.05), options)
    deep = replace(deep, workload=replace(deep.workload, n_rows=64, n_steps=512))

    found = search(deep)

    assert found.best.plan.n_stages > 60
    assert 0 <= found.gap < 0.15
