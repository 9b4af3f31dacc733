"""How many chunks a plan gets where nobody says."""

from collections.abc import Sequence

import pytest

from gru_parallel.placement import Grid, Plan, StagePlan
from gru_parallel.planning import default_chunks
from gru_parallel.planning.default_chunks import fastest_chunks


def plan_on(devices: Sequence[str], n_micro_batches: int = 1, truncate: int | None = None) -> Plan:
    stages = tuple(
        StagePlan(name, index, 1, *reverse)
        for index, (name, *reverse) in enumerate(device.split("+") for device in devices)
    )
    return Plan(len(stages), Grid(1, "gpipe", n_micro_batches, 1, truncate), stages)


@pytest.mark.parametrize(
    ("devices", "n_chunks"),
    [
        (["cuda:0"], 1),
        (["cuda:0+cuda:1"], 1),
        (["cuda:0", "cuda:1"], 8),
        ([f"cuda:{index}" for index in range(4)], 14),
        ([f"cuda:{index}" for index in range(8)], 21),
        (["xpu:0", "xpu:1"], 8),
        # Two stages on one GPU.
        (["cuda:0", "cuda:0"], 1),
        (["cpu:0"], 8),
        (["cpu:0", "cpu:1", "cpu:2", "cpu:3"], 8),
        (["cuda:0", "cpu:0"], 8),
    ],
)
def test_the_devices_decide(devices: list[str], n_chunks: int) -> None:
    assert default_chunks(plan_on(devices)) == n_chunks


def test_micro_batches_fill_the_pipeline_too() -> None:
    assert default_chunks(plan_on(["cuda:0", "cuda:1"], n_micro_batches=4)) == 4


@pytest.mark.parametrize("devices", [["cpu:0"], ["cuda:0", "cuda:1", "cuda:2"]])
def test_there_are_no_more_chunks_than_steps(devices: list[str]) -> None:
    assert default_chunks(plan_on(devices), n_steps=5) == 5


def test_what_is_truncated_does_not_depend_on_the_devices() -> None:
    assert default_chunks(plan_on(["cuda:0"], truncate=2)) == 8


@pytest.mark.parametrize("n_stages", range(1, 17))
@pytest.mark.parametrize("n_micro_batches", [1, 3])
def test_no_other_number_is_faster(n_stages: int, n_micro_batches: int) -> None:
    def step_time(n_chunks: int) -> float:
        cells = n_micro_batches * n_chunks
        return (cells + n_stages - 1) / cells * (1 + 0.016 * n_chunks)

    chosen = fastest_chunks(n_stages, n_micro_batches)
    assert step_time(chosen) <= min(map(step_time, range(1, 200))) + 1e-12
