"""The planner: balanced stages, encoder and head included, and device maps."""

import pytest

from gru_parallel.placement import Grid, ModelSpec, Plan, StagePlan, block_costs, cut_stack
from gru_parallel.planning import make_plan, plan_from_device_map

HIDDEN_SIZE = 32
N_STEPS = 16
BATCH_SIZE = 8
GPUS = [f"cuda:{index}" for index in range(4)]


def linear_worth(n_layers: float) -> int:
    """The outer features of a linear layer that costs as much as so many GRU layers."""
    return round(n_layers * 6 * HIDDEN_SIZE)


def plan_for(
    num_layers: int,
    n_devices: int,
    layers_per_block: int = 1,
    *,
    n_channels: int | None = None,
    n_outputs: int | None = None,
) -> Plan:
    blocks = cut_stack(HIDDEN_SIZE, HIDDEN_SIZE, num_layers, layers_per_block)
    model = ModelSpec(blocks, n_channels, n_outputs, every_step=True)
    costs = block_costs(model, N_STEPS, BATCH_SIZE)
    return make_plan(costs, GPUS[:n_devices], num_layers, Grid(layers_per_block, "gpipe", 2, 4))


def sizes(plan: Plan) -> list[int]:
    return [stage.n_blocks for stage in plan.stages]


def test_a_plan_names_devices_blocks_schedule_and_grid() -> None:
    assert plan_for(4, 2) == Plan(
        num_layers=4,
        grid=Grid(1, "gpipe", n_micro_batches=2, n_chunks=4),
        stages=(StagePlan("cuda:0", 0, 2), StagePlan("cuda:1", 2, 2)),
    )


def test_a_heavy_head_moves_the_cut() -> None:
    assert sizes(plan_for(6, 2, n_outputs=linear_worth(0.1))) == [3, 3]
    assert sizes(plan_for(6, 2, n_outputs=linear_worth(2))) == [4, 2]


def test_a_heavy_encoder_moves_the_cut() -> None:
    assert sizes(plan_for(6, 2, n_channels=linear_worth(2))) == [2, 4]


def test_a_smaller_last_block_counts_for_less() -> None:
    assert sizes(plan_for(7, 2, layers_per_block=3)) == [1, 2]


def test_more_devices_than_blocks_leave_the_last_ones_idle() -> None:
    assert plan_for(2, 4).devices == ("cuda:0", "cuda:1")


def test_costs_that_are_not_one_per_block_are_refused() -> None:
    costs = block_costs(ModelSpec(cut_stack(4, 4, 3)), 1, 1)
    with pytest.raises(ValueError, match="hold 3 blocks, but the model has 4"):
        make_plan(costs, GPUS[:2], 4, Grid())


def test_a_device_map_makes_the_same_plan_as_its_stages_written_out() -> None:
    plan = plan_from_device_map(
        ["cpu:0", "cpu:0", "cpu:1"], ["cpu:0", "cpu:1"], num_layers=5, grid=Grid(2)
    )
    assert plan == Plan(
        num_layers=5,
        grid=Grid(2, "one_f_one_b", n_micro_batches=1, n_chunks=8),
        stages=(StagePlan("cpu:0", 0, 2), StagePlan("cpu:1", 2, 1)),
    )
