"""Plan: its layers, its checks, and the round trip through JSON."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gru_parallel.choices import RECOMPUTE
from gru_parallel.errors import UsageError
from gru_parallel.placement import Grid, Plan, StagePlan

STAGES = (StagePlan("cuda:0", 0, 2), StagePlan("cuda:1", 2, 1))
PLAN = Plan(5, Grid(2, "gpipe", n_micro_batches=2, n_chunks=4), STAGES)
POSITIVE = st.integers(min_value=1, max_value=50)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    layers_per_block = draw(st.integers(1, 4))
    return Plan(
        num_layers=sum(sizes) * layers_per_block - draw(st.integers(0, layers_per_block - 1)),
        grid=Grid(
            layers_per_block,
            draw(st.text(min_size=1)),
            draw(POSITIVE),
            draw(POSITIVE),
            draw(st.none() | POSITIVE),
            draw(st.sampled_from(RECOMPUTE)),
        ),
        stages=tuple(
            StagePlan(draw(st.text(min_size=1)), sum(sizes[:stage]), size)
            for stage, size in enumerate(sizes)
        ),
    )


def json_of(plan: Plan, *, of_grid: dict[str, Any] | None = None, **changes: Any) -> str:
    entries = json.loads(plan.to_json())
    return json.dumps({**entries, "grid": {**entries["grid"], **(of_grid or {})}, **changes})


def test_a_plan_knows_its_blocks_layers_and_devices() -> None:
    assert PLAN.n_stages == 2
    assert PLAN.n_blocks == 3
    assert PLAN.devices == ("cuda:0", "cuda:1")
    assert [stage.blocks for stage in PLAN.stages] == [range(2), range(2, 3)]
    assert [PLAN.stage_layers(stage) for stage in range(2)] == [range(4), range(4, 5)]


def test_a_device_that_carries_two_stages_is_named_for_each() -> None:
    stages = (StagePlan("cuda:0", 0, 1), StagePlan("cuda:0", 1, 1))

    assert Plan(2, Grid(), stages).devices == ("cuda:0", "cuda:0")


@settings(max_examples=25)
@given(plans())
def test_every_layer_is_in_one_stage(plan: Plan) -> None:
    by_stage = [layer for stage in range(plan.n_stages) for layer in plan.stage_layers(stage)]

    assert by_stage == list(range(plan.num_layers))


def test_a_plan_without_layers_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^model.num_layers=0 is not a size"):
        Plan(0, Grid(), STAGES)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([], "no stage for its 3 blocks"),
        ([(1, 2)], "stage 0 starts at block 1 and leaves a gap; let it start at block 0"),
        ([(0, 1), (2, 1)], "stage 1 starts at block 2 and leaves a gap; let it start at block 1"),
        ([(0, 2), (1, 2)], "stage 1 starts at block 1 and overlaps the one before"),
        ([(0, 2)], "the stages hold 2 blocks, but the model has 3"),
        ([(0, 2), (2, 2)], "the stages hold 4 blocks, but the model has 3"),
    ],
)
def test_stages_that_do_not_hold_every_block_once_are_refused(
    blocks: list[tuple[int, int]], message: str
) -> None:
    stages = tuple(StagePlan("cpu:0", first, size) for first, size in blocks)

    with pytest.raises(UsageError, match=message):
        Plan(5, Grid(2), stages)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", 0, 1), "starts at block 0 names no device"),
        (("cpu:0", -1, 1), "first_block=-1 of the stage on cpu:0 is negative"),
        (("cpu:0", 0, 0), "n_blocks=0 leaves the stage on cpu:0 without a block"),
    ],
)
def test_a_stage_that_cannot_be_is_refused(arguments: tuple[str, int, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        StagePlan(*arguments)


@given(plans())
def test_a_plan_survives_json(plan: Plan) -> None:
    assert Plan.from_json(plan.to_json()) == plan


def test_the_json_is_indented_and_has_a_version() -> None:
    assert PLAN.to_json().startswith(
        '{\n  "version": 4,\n  "num_layers": 5,\n  "grid": {\n    "layers_per_block": 2,\n'
    )


FIRST_VERSION = """{
  "version": 1,
  "num_layers": 5,
  "layers_per_block": 2,
  "stages": [
    {"device": "cuda:0", "first_block": 0, "n_blocks": 2, "reverse_device": null},
    {"device": "cuda:1", "first_block": 2, "n_blocks": 1, "reverse_device": null}
  ],
  "schedule": "gpipe",
  "n_micro_batches": 2,
  "n_chunks": 4,
  "truncate": null
}"""


def test_a_plan_of_the_first_version_is_read() -> None:
    assert Plan.from_json(FIRST_VERSION) == PLAN


def test_a_plan_of_the_second_version_is_read() -> None:
    entries = json.loads(json_of(PLAN, version=2))
    del entries["grid"]["recompute"], entries["core"], entries["data_parallel"]

    assert Plan.from_json(json.dumps(entries)) == PLAN


def test_a_plan_of_the_third_version_has_the_core_and_the_replicas_of_the_settings() -> None:
    entries = json.loads(json_of(PLAN, version=3))
    del entries["core"], entries["data_parallel"]

    read = Plan.from_json(json.dumps(entries))

    assert (read.core, read.data_parallel) == ("auto", 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the plan is not JSON: .*; write it with Plan.to_json"),
        ("[1]", r"the plan is \[1\], not an object"),
        ("{}", "version None, but only versions 1 to 4 can be read"),
        (json_of(PLAN, version=5), "version 5, but only versions 1 to 4 can be read"),
        (json_of(PLAN, version="1"), "version '1', but only versions 1 to 4 can be read"),
        (json_of(PLAN, version=True), "version True, but only versions 1 to 4 can be read"),
        (FIRST_VERSION.replace('"n_chunks": 4,', ""), "the grid of the plan lacks: n_chunks"),
        ('{"version": 2, "stages": [], "num_layers": 1}', "the plan lacks: grid"),
        (json_of(PLAN, n_chunk=3), "the plan does not know: n_chunk;"),
        (json_of(PLAN, stages={}), "stages={}, which is not a list"),
        (json_of(PLAN, stages=[3]), "stage 0 of the plan is 3, not an object"),
        (json_of(PLAN, stages=[{}]), "stage 0 of the plan lacks: device, first_block, n_blocks"),
        (json_of(PLAN, num_layers="5"), "num_layers=5 is not a size"),
        (json_of(PLAN, grid=3), "the grid of the plan is 3, not an object"),
        (json_of(PLAN, of_grid={"n_chunk": 3}), "the grid of the plan does not know: n_chunk;"),
        (json_of(PLAN, of_grid={"n_chunks": 2.0}), "n_chunks=2.0, which is not a whole number"),
        (json_of(PLAN, of_grid={"n_chunks": True}), "n_chunks=True, which is not a whole number"),
        (json_of(PLAN, of_grid={"schedule": None}), "schedule=None, which is not a text"),
        (json_of(PLAN, of_grid={"recompute": "all"}), "recompute=all is not a valid choice"),
        (json_of(PLAN, of_grid={"n_micro_batches": 0}), "n_micro_batches=0 is not a size"),
    ],
)
def test_json_that_is_no_plan_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Plan.from_json(text)


def test_truncation_and_second_devices_go_to_json_and_back() -> None:
    plan = Plan(2, Grid(truncate=2), (StagePlan("cpu:0", 0, 2, "cpu:1"),))

    assert Plan.from_json(plan.to_json()) == plan
    assert plan.devices == ("cpu:0",)
    assert plan.all_devices == ("cpu:0", "cpu:1")
