"""The tables of plans that were tried, and of the best plans by number of devices."""

from dataclasses import replace

import pytest
from rich.console import Console
from rich.table import Table

from gru_parallel.placement import Cluster, Device, ModelSpec, cut_stack
from gru_parallel.placement.cluster import Machine
from gru_parallel.planning import Options, Problem, Workload, device_counts, scaling_curve, search
from gru_parallel.planning.profile import Trial
from gru_parallel.report.plan_choice import curve_table, trials_table
from tests.affine_costs import AffineCosts


def test_tried_plans_are_shown_with_what_was_predicted_and_what_they_took() -> None:
    devices = tuple(Device(f"cpu:{index}", "cpu") for index in range(2))
    spec = ModelSpec(cut_stack(4, 4, 2, h_0="zeros"))
    options = Options(1, ("one_f_one_b",), (1,), (1, 2, 4))
    cluster = Cluster(devices, (Machine(2),))
    given = Problem(Workload(spec, 8, 16), cluster, AffineCosts(0.1, 3.0), options)
    best = search(given).best
    other = replace(best.plan, grid=replace(best.plan.grid, n_chunks=16, recompute="cell"))
    planned = given.planned(other)
    took = ((best, 25.0), (planned, 12.5), (best, None))
    tried = [(Trial(each.plan, "", ms), each) for each, ms in took]

    first, second, third = rows(trials_table(planned, tried))

    grid = best.plan.grid
    assert first[:3] == [str(best.plan.n_stages), "one_f_one_b", f"1 x {grid.n_chunks}"]
    assert first[4].split() == [f"{best.timeline.step_ms:.1f}", "ms"]
    assert first[5:] == ["25.0 ms"]
    assert second[1:3] == ["one_f_one_b, recompute=cell", "1 x 16"]
    assert second[5:] == ["12.5 ms", "taken"]
    assert third[5:] == ["no room"]


def test_a_part_of_ones_own_is_told_from_others_by_the_end_of_its_name() -> None:
    spec = ModelSpec(cut_stack(4, 4, 2, h_0="zeros"))
    cluster = Cluster((Device("cpu:0", "cpu"),), (Machine(1),))
    given = Problem(
        Workload(spec, 8, 16),
        cluster,
        AffineCosts(0.1, 3.0),
        Options(1, ("one_f_one_b",), (1,), (1,)),
    )
    best = search(given).best
    name = "gru_parallel.schedule.gpipe.gpipe"
    own = replace(best.plan, grid=replace(best.plan.grid, schedule=name), core="my_parts.core.slow")
    tried = replace(best, plan=own)

    (row,) = rows(trials_table(best, [(Trial(own, "", 25.0), tried)]))

    assert (row[1], row[3]) == ("gpipe", "slow")


@pytest.mark.parametrize(
    ("once_ms", "n_devices", "verdict"),
    [
        (0.0, 2, "All 2 devices pay."),
        (
            1000.0,
            2,
            "The plan uses 2 devices, which gain less than 10 % over 1; use"
            ' "placement.device_map={0-3: cpu:0}" not to split the model.',
        ),
        (350.0, 4, "The plan uses 4 devices, which gain less than 10 % over 2."),
    ],
)
def test_devices_that_gain_little_are_said_of_the_plan_that_uses_them(
    once_ms: float, n_devices: int, verdict: str
) -> None:
    devices = tuple(Device(f"cpu:{index}", "cpu") for index in range(n_devices))
    spec = ModelSpec(cut_stack(4, 4, 4, h_0="zeros"))
    given = Problem(
        Workload(spec, 8, 16),
        Cluster(devices, (Machine(n_devices),)),
        AffineCosts(0.1, 0.1, once_ms=once_ms),
        Options(1, ("one_f_one_b",), (1, 2, 4), (1, 2, 4, 8)),
    )
    best = search(given).best

    table = curve_table(scaling_curve(given, device_counts(n_devices), best))

    assert str(table.caption) == verdict


def test_under_ranks_it_is_said_how_many_to_start() -> None:
    devices = tuple(Device(f"cpu:{index}", "cpu") for index in range(2))
    spec = ModelSpec(cut_stack(4, 4, 4, h_0="zeros"))
    given = Problem(
        Workload(spec, 8, 16),
        Cluster(devices, (Machine(2),)),
        AffineCosts(0.1, 0.1, once_ms=1000.0),
        Options(1, ("one_f_one_b",), (1, 2, 4), (1, 2, 4, 8), uses_all=True),
    )
    curve = scaling_curve(given, [1, 2], search(given).best)

    assert str(curve_table(curve, over_ranks=True).caption) == (
        "The plan uses 2 devices, which gain less than 10 % over 1; start 1 rank, with"
        " engine.data_parallel=1."
    )


def rows(table: Table) -> list[list[str]]:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    lines = capture.get().splitlines()[4:]
    return [[c.strip() for c in line.split("  ") if c.strip()] for line in lines if line.strip()]
