"""The ways to cut: blocks of every size, every schedule, both directions, unequal lengths."""

from itertools import product

import pytest

from gru_parallel.placement import spread
from gru_parallel.schedule import SCHEDULES
from gru_parallel.verification.cuts import GRIDS, core_in_turn, kinds, measure_cuts, placements
from gru_parallel.verification.difference import Differences
from gru_parallel.verification.settings import Settings
from gru_parallel.verification.starts import layers_each
from tests.verification.no_cut import make_no_cut

SMALL = Settings(num_layers=3, hidden_size=2, lengths=[4, 2], batch_size=3, devices=["cpu:0"])


def test_every_kind_is_cut_by_every_schedule_and_grid_at_every_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_no_cut(monkeypatch, Differences(0.0, 0.0, 0.0, 0.0, 0.0))
    found = [
        (cut.kind, cut.placement, cut.schedule, (cut.n_micro_batches, cut.n_chunks))
        for cut in measure_cuts(SMALL)
    ]

    expected = [
        (kind, *how)
        for kind in kinds(SMALL)
        for how in product(placements(SMALL, bidirectional=kind.bidirectional), SCHEDULES, GRIDS)
    ]
    assert found == expected


def test_each_core_meets_every_grid_and_every_schedule_that_it_goes_with() -> None:
    cores = {how: core_in_turn(*how) for how in product(SCHEDULES, GRIDS)}

    assert {(grid, core) for (_, grid), core in cores.items()} == set(
        product(GRIDS, ("native", "fused", "lean"))
    )
    assert {
        schedule: {c for (s, _), c in cores.items() if s == schedule} for schedule in SCHEDULES
    } == {
        schedule: {"fused", "lean"} | ({"native"} if schedule != "zero_bubble" else set())
        for schedule in SCHEDULES
    }


def test_blocks_have_every_number_of_layers_with_and_without_devices() -> None:
    maps = [(p.layers_per_block, p.device_map) for p in placements(SMALL, bidirectional=False)]

    assert maps == [
        (1, None),
        (1, ("cpu:0", "cpu:0", "cpu:0")),
        (2, None),
        (2, ("cpu:0", "cpu:0")),
        (3, None),
        (3, ("cpu:0",)),
    ]


def test_stages_are_two_and_as_many_as_there_can_be() -> None:
    settings = Settings(num_layers=4, devices=["cpu:0", "cpu:1", "cpu:2"])
    of_single_layers = [
        p.device_map for p in placements(settings, bidirectional=False) if p.layers_per_block == 1
    ]

    assert of_single_layers == [
        None,
        ("cpu:0", "cpu:0", "cpu:1", "cpu:1"),
        ("cpu:0", "cpu:0", "cpu:1", "cpu:2"),
    ]


def test_both_directions_also_run_on_a_device_each() -> None:
    settings = Settings(num_layers=2, devices=["cpu:0", "cpu:1"])

    one, both = (
        [p.device_map for p in placements(settings, bidirectional=both_ways)]
        for both_ways in (False, True)
    )

    assert [p for p in both if p not in one] == [("cpu:0+cpu:1",) * 2, ("cpu:0+cpu:1",)]


def test_lengths_are_repeated_in_turn_and_one_length_is_no_kind_of_its_own() -> None:
    assert [kind.lengths for kind in kinds(SMALL)] == [None, (4, 2, 4)] * 2
    assert [kind.lengths for kind in kinds(Settings(lengths=[7]))] == [None, None]


@pytest.mark.parametrize(("n_blocks", "expected"), [(2, "ab"), (3, "aab"), (5, "aaabb")])
def test_blocks_are_shared_out_evenly(n_blocks: int, expected: str) -> None:
    assert "".join(spread(["a", "b"], n_blocks)) == expected


@pytest.mark.parametrize(("num_layers", "each"), [(2, 1), (3, 1), (4, 2), (6, 3), (9, 3)])
def test_layers_are_dealt_to_as_few_equal_grus_as_can_be(num_layers: int, each: int) -> None:
    assert layers_each(num_layers) == each
