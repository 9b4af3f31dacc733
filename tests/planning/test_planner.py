"""The planner: balanced stages, encoder and head included, and the times it predicts."""

from collections.abc import Sequence

import pytest

from gru_parallel.errors import UsageError
from gru_parallel.placement import (
    Cluster,
    Device,
    LayerCost,
    Link,
    Plan,
    StagePlan,
    costs_by_block,
    gru_layer_cost,
    linear_cost,
)
from gru_parallel.planning import (
    idle_devices,
    make_plan,
    plan_from_device_map,
    stage_costs,
    stage_times_ms,
)

HIDDEN_SIZE = 32
N_STEPS = 16
BATCH_SIZE = 8


def cluster(n_devices: int, flops_per_s: float = 1e9) -> Cluster:
    devices = tuple(Device(f"cuda:{index}", flops_per_s) for index in range(n_devices))
    return Cluster(devices, Link(bytes_per_s=1e9, latency_s=0))


def gru_layers(num_layers: int) -> list[LayerCost]:
    return [
        gru_layer_cost(f"layer {layer}", HIDDEN_SIZE, HIDDEN_SIZE, N_STEPS, BATCH_SIZE)
        for layer in range(num_layers)
    ]


def linear_worth(n_layers: float, name: str) -> LayerCost:
    """A linear layer that costs as much as so many GRU layers of HIDDEN_SIZE."""
    out_features = round(n_layers * 6 * HIDDEN_SIZE)
    return linear_cost(name, HIDDEN_SIZE, out_features, N_STEPS * BATCH_SIZE)


def plan_for(
    block_costs: Sequence[LayerCost], devices: Cluster, num_layers: int, layers_per_block: int = 1
) -> Plan:
    return make_plan(
        block_costs,
        devices,
        num_layers=num_layers,
        layers_per_block=layers_per_block,
        schedule="gpipe",
        n_micro_batches=2,
        n_chunks=4,
    )


def sizes(plan: Plan) -> list[int]:
    return [stage.n_blocks for stage in plan.stages]


def test_a_plan_names_devices_blocks_schedule_and_grid() -> None:
    plan = plan_for(gru_layers(4), cluster(2), num_layers=4)

    assert plan == Plan(
        num_layers=4,
        layers_per_block=1,
        stages=(StagePlan("cuda:0", 0, 2), StagePlan("cuda:1", 2, 2)),
        schedule="gpipe",
        n_micro_batches=2,
        n_chunks=4,
    )


def test_a_heavy_head_moves_the_cut() -> None:
    light = costs_by_block(gru_layers(6), 1, head=linear_worth(0.1, "head"))
    heavy = costs_by_block(gru_layers(6), 1, head=linear_worth(2, "head"))

    assert sizes(plan_for(light, cluster(2), num_layers=6)) == [3, 3]
    assert sizes(plan_for(heavy, cluster(2), num_layers=6)) == [4, 2]


def test_a_heavy_encoder_moves_the_cut() -> None:
    heavy = costs_by_block(gru_layers(6), 1, encoder=linear_worth(2, "encoder"))

    assert sizes(plan_for(heavy, cluster(2), num_layers=6)) == [2, 4]


def test_a_smaller_last_block_counts_for_less() -> None:
    block_costs = costs_by_block(gru_layers(7), 3)

    assert sizes(plan_for(block_costs, cluster(2), num_layers=7, layers_per_block=3)) == [1, 2]


def test_more_devices_than_blocks_leave_the_last_ones_idle() -> None:
    plan = plan_for(gru_layers(2), cluster(4), num_layers=2)

    assert plan.devices == ("cuda:0", "cuda:1")
    assert idle_devices(plan, cluster(4)) == ("cuda:2", "cuda:3")
    assert idle_devices(plan, cluster(2)) == ()


def test_costs_that_are_not_one_a_block_are_refused() -> None:
    with pytest.raises(ValueError, match="hold 3 blocks, but the model has 4"):
        plan_for(gru_layers(3), cluster(2), num_layers=4)


def test_stage_costs_add_up_the_blocks_of_each_stage() -> None:
    layers = gru_layers(3)
    plan = plan_for(layers, cluster(2), num_layers=3)

    assert stage_costs(plan, layers) == (layers[0], layers[1] + layers[2])


def test_stage_costs_refuse_costs_that_are_not_one_a_block() -> None:
    plan = plan_for(gru_layers(3), cluster(2), num_layers=3)

    with pytest.raises(ValueError, match="2 costs do not fit the plan's 3 blocks"):
        stage_costs(plan, gru_layers(2))


def test_stage_times_follow_each_devices_speed() -> None:
    layers = [LayerCost(str(block), 1e6, 2e6, 0, 0, 0) for block in range(3)]
    plan = Plan(3, 1, (StagePlan("cuda:0", 0, 1), StagePlan("cpu:0", 1, 2)), "gpipe", 1, 1)
    devices = Cluster((Device("cpu:0", 1e9), Device("cuda:0", 4e9)), Link(1e9, 0))

    on_gpu, on_cpu = stage_times_ms(plan, layers, devices)

    assert on_gpu == pytest.approx((0.25, 0.5))
    assert on_cpu == pytest.approx((2.0, 4.0))


def test_a_device_that_carries_two_stages_has_a_time_for_each() -> None:
    layers = [LayerCost(str(block), 1e6, 2e6, 0, 0, 0) for block in range(2)]
    plan = Plan(2, 1, (StagePlan("cuda:0", 0, 1), StagePlan("cuda:0", 1, 1)), "gpipe", 1, 1)

    first, second = stage_times_ms(plan, layers, cluster(1))

    assert first == second == pytest.approx((1.0, 2.0))


def test_stage_times_refuse_a_device_that_the_cluster_lacks() -> None:
    plan = plan_for(gru_layers(2), cluster(2), num_layers=2)

    with pytest.raises(UsageError, match="no device 'cuda:1'"):
        stage_times_ms(plan, gru_layers(2), cluster(1))


def test_a_device_map_makes_the_same_plan_as_its_stages_written_out() -> None:
    plan = plan_from_device_map(
        ["cpu:0", "cpu:0", "cpu:1"], ["cpu:0", "cpu:1"], num_layers=5, layers_per_block=2
    )
    assert plan == Plan(
        num_layers=5,
        layers_per_block=2,
        stages=(StagePlan("cpu:0", 0, 2), StagePlan("cpu:1", 2, 1)),
        schedule="one_f_one_b",
        n_micro_batches=1,
        n_chunks=8,
    )
