"""Plan: its layers, its checks, and the round trip through JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gru_parallel.errors import UsageError
from gru_parallel.placement import Plan, StagePlan

STAGES = (StagePlan("cuda:0", 0, 2), StagePlan("cuda:1", 2, 1))
PLAN = Plan(5, 2, STAGES, "gpipe", n_micro_batches=2, n_chunks=4)
POSITIVE = st.integers(min_value=1, max_value=50)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    layers_per_block = draw(st.integers(1, 4))
    return Plan(
        num_layers=sum(sizes) * layers_per_block - draw(st.integers(0, layers_per_block - 1)),
        layers_per_block=layers_per_block,
        stages=tuple(
            StagePlan(draw(st.text(min_size=1)), sum(sizes[:stage]), size)
            for stage, size in enumerate(sizes)
        ),
        schedule=draw(st.text(min_size=1)),
        n_micro_batches=draw(POSITIVE),
        n_chunks=draw(POSITIVE),
    )


def json_of(plan: Plan, **changes: Any) -> str:
    return json.dumps({**json.loads(plan.to_json()), **changes})


def test_a_plan_knows_its_blocks_layers_and_devices() -> None:
    assert PLAN.n_stages == 2
    assert PLAN.n_blocks == 3
    assert PLAN.devices == ("cuda:0", "cuda:1")
    assert [stage.blocks for stage in PLAN.stages] == [range(2), range(2, 3)]
    assert [PLAN.block_layers(block) for block in range(3)] == [range(2), range(2, 4), range(4, 5)]
    assert [PLAN.stage_layers(stage) for stage in range(2)] == [range(4), range(4, 5)]


def test_a_device_that_carries_two_stages_is_named_for_each() -> None:
    stages = (StagePlan("cuda:0", 0, 1), StagePlan("cuda:0", 1, 1))

    assert Plan(2, 1, stages, "gpipe", 1, 1).devices == ("cuda:0", "cuda:0")


@given(plans())
def test_every_layer_is_in_one_block_and_every_block_in_one_stage(plan: Plan) -> None:
    by_block = [layer for block in range(plan.n_blocks) for layer in plan.block_layers(block)]
    by_stage = [layer for stage in range(plan.n_stages) for layer in plan.stage_layers(stage)]

    assert by_block == by_stage == list(range(plan.num_layers))
    assert all(plan.block_layers(block) for block in range(plan.n_blocks))


@pytest.mark.parametrize("index", [-1, 3])
def test_a_block_or_stage_that_the_plan_lacks_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError, match=f"block {index} is outside the plan's 3 blocks"):
        PLAN.block_layers(index)
    with pytest.raises(IndexError, match=f"stage {index} is outside the plan's 2 stages"):
        PLAN.stage_layers(index)


@pytest.mark.parametrize(
    ("position", "setting"),
    [
        (0, "model.num_layers"),
        (1, "model.layers_per_block"),
        (4, "schedule.n_micro_batches"),
        (5, "schedule.n_chunks"),
    ],
)
@pytest.mark.parametrize("size", [0, -3])
def test_a_size_that_is_not_positive_is_refused(position: int, setting: str, size: int) -> None:
    arguments: list[Any] = [5, 2, STAGES, "gpipe", 2, 4]
    arguments[position] = size

    with pytest.raises(UsageError, match=f"^{setting}={size} is not positive; use {setting} >= 1"):
        Plan(*arguments)


def test_a_plan_without_a_schedule_is_refused() -> None:
    with pytest.raises(UsageError, match="names no schedule"):
        Plan(5, 2, STAGES, "", 2, 4)


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
        Plan(5, 2, stages, "gpipe", 2, 4)


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
    assert PLAN.to_json().startswith('{\n  "version": 1,\n  "num_layers": 5,\n')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the plan is not JSON: .*; write it with Plan.to_json"),
        ("[1]", "the plan is a JSON list, not an object"),
        ("{}", 'the plan lacks the key "version"'),
        (json_of(PLAN, version=2), "version 2, but only version 1 can be read"),
        (json_of(PLAN, version="1"), "version '1', but only version 1 can be read"),
        (json_of(PLAN, version=True), "version True, but only version 1 can be read"),
        ('{"version": 1, "stages": [], "num_layers": 1}', "the plan lacks: layers_per_block, n_ch"),
        (json_of(PLAN, n_chunk=3), "the plan does not know: n_chunk;"),
        (json_of(PLAN, stages={}), "stages={}, which is not a list"),
        (json_of(PLAN, stages=[3]), "stage 0 of the plan is 3, not an object"),
        (json_of(PLAN, stages=[{}]), "stage 0 of the plan lacks: device, first_block, n_blocks"),
        (json_of(PLAN, num_layers="5"), "num_layers='5', which is not a whole number"),
        (json_of(PLAN, n_chunks=2.0), "n_chunks=2.0, which is not a whole number"),
        (json_of(PLAN, n_chunks=True), "n_chunks=True, which is not a whole number"),
        (json_of(PLAN, schedule=None), "schedule=None, which is not a text"),
        (json_of(PLAN, n_micro_batches=0), "schedule.n_micro_batches=0 is not positive"),
    ],
)
def test_json_that_is_no_plan_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Plan.from_json(text)


def test_truncation_and_second_devices_go_to_json_and_back() -> None:
    plan = Plan(2, 1, (StagePlan("cpu:0", 0, 2, "cpu:1"),), "gpipe", 1, 8, truncate=2)

    assert Plan.from_json(plan.to_json()) == plan
    assert plan.devices == ("cpu:0",)
    assert plan.all_devices == ("cpu:0", "cpu:1")


def test_no_chunks_between_two_cuts_are_refused() -> None:
    with pytest.raises(UsageError, match=r"schedule\.truncate=0 is not positive"):
        Plan(1, 1, (StagePlan("cpu:0", 0, 1),), "gpipe", 1, 8, truncate=0)
