"""Profiles: what lies between measured points, and JSON both ways."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gru_parallel.errors import UsageError
from gru_parallel.placement import Cluster, Device, Grid, Plan, StagePlan
from gru_parallel.placement.cluster import OVER_PCIE, Link
from gru_parallel.planning.cell_costs import CellTimes, LayerKind, LinearKind
from gru_parallel.planning.profile import (
    OF_RANKS,
    Measured,
    MeasuredCosts,
    Point,
    Profile,
    Table,
    Trial,
)

LAYER = LayerKind(4, 8, core="fused")
HEAD = LinearKind(8, 1, False, True)
CPU = Device("cpu:0", "cpu")
CLUSTER = Cluster((CPU, Device("cuda:0", "card")), inside=Link(0.5, 1e9))


def linear_times(rows: float, steps: float) -> CellTimes:
    ms = 0.5 + 0.25 * steps + 0.01 * rows + 0.002 * rows * steps
    return CellTimes(ms, 2 * ms, ms, 3 * ms)


def points() -> tuple[Point, ...]:
    # Fewer rows have fewer points, as they are measured.
    sizes = [(32, 2), (32, 6), (32, 24), (8, 3), (8, 24), (2, 3), (2, 24)]
    return tuple(Point(rows, steps, linear_times(rows, steps)) for rows, steps in sizes)


def profile() -> Profile:
    return Profile(
        {"rows": 32, "machine": {"processor": "some"}},
        "2026-11-27",
        (
            Measured(LAYER, "cpu", 1, points()),
            Measured(
                LAYER, "cpu", 2, tuple(p._replace(times=p.times.times(1.5)) for p in points())
            ),
            Measured(HEAD, "cpu", 1, (Point(32, 2, CellTimes(1, 2, 0, 2)),)),
            Measured(None, "cpu", 1, (Point(1, 1, CellTimes(0.1, 0.1, 0.1, 0.2)),)),
        ),
        {"cpu cpu": Link(0.05, float("inf")), OF_RANKS: Link(0.2, 2e9)},
        start_ms=0.7,
        optimizer_ns=2.0,
    )


@given(st.floats(0.5, 100), st.floats(0.5, 100))
def test_what_is_linear_in_rows_and_in_steps_is_met_everywhere(rows: float, steps: float) -> None:
    found = Table(points()).at(rows, steps)

    assert found == pytest.approx(linear_times(rows, steps))


def test_what_takes_more_for_each_further_step_is_met_at_its_points() -> None:
    bent = [Point(4, steps, CellTimes(steps**2)) for steps in (1, 2, 4)]

    assert [Table(bent).at(4, steps).forward_ms for steps in (1, 2, 3, 4)] == [1, 4, 10, 16]


def test_nothing_takes_less_than_nothing() -> None:
    steep = [Point(4, 2, CellTimes(1.0)), Point(4, 4, CellTimes(10.0))]

    assert Table(steep).at(4, 1).forward_ms == 0.0


def test_one_point_alone_is_taken_to_be_proportional() -> None:
    assert Table([Point(4, 2, CellTimes(1.0))]).at(8, 3).forward_ms == pytest.approx(3.0)


def test_more_busy_stages_lie_between_and_never_beyond_what_was_measured() -> None:
    costs = MeasuredCosts(profile(), CLUSTER)
    one, two, three = (costs.layer(LAYER, CPU, 32, 6, n).forward_ms for n in (1, 2, 3))

    assert two == pytest.approx(1.5 * one)
    assert three == two


def test_a_step_takes_its_start_and_the_optimisers_share_of_each_parameter() -> None:
    assert MeasuredCosts(profile(), CLUSTER).step_ms(CPU, 1_000_000) == pytest.approx(0.7 + 2.0)


def test_ranks_hand_over_otherwise_than_threads_and_what_was_not_measured_is_the_clusters() -> None:
    other = Device("cpu:1", "cpu")
    card = CLUSTER.devices[1]
    threads, ranks = (MeasuredCosts(profile(), CLUSTER, of_ranks) for of_ranks in (False, True))

    assert threads.link(CPU, other) == Link(0.05, float("inf"))
    assert ranks.link(CPU, other) == Link(0.2, 2e9)
    assert threads.link(CPU, card) == ranks.link(CPU, card) == OVER_PCIE
    assert threads.link(CPU, Device("cpu:9", "cpu", machine=1)) == CLUSTER.between


def test_json_reads_back_to_an_equal_profile() -> None:
    assert Profile.from_json(profile().to_json()) == profile()
    stages = (StagePlan("cpu:0", 0, 1), StagePlan("cpu:1", 1, 1))
    plan = Plan(2, Grid(1, "zero_bubble", 2, 3), stages, "lean")
    tried = replace(
        profile(), trials=(Trial(plan, "a", 1.5), Trial(replace(plan, core="auto"), "b", None))
    )
    assert Profile.from_json(tried.to_json()) == tried


def test_a_profile_from_before_there_were_trials_has_none() -> None:
    entries = json.loads(profile().to_json())
    del entries["trials"]

    assert Profile.from_json(json.dumps(entries)) == profile()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 0}', '{"version": 1}'])
def test_what_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="the profile cannot be read"):
        Profile.from_json(text)
