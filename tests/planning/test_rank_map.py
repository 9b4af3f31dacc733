import pytest

from gru_parallel.errors import UsageError
from gru_parallel.planning import RankMap, ranks_per_replica
from tests.builders import make_plan

SHARED = make_plan([1, 2, 1], devices=["cpu:4", "cpu:1", "cpu:4"])


def test_each_device_of_each_replica_has_a_rank_in_the_order_of_the_stages() -> None:
    ranks = RankMap(SHARED, 2, 4)
    assert ranks.ranks_per_replica == 2
    assert [ranks.replica(rank) for rank in range(4)] == [0, 0, 1, 1]
    assert [ranks.ranks(replica) for replica in range(2)] == [range(2), range(2, 4)]
    assert [ranks.rank_of_each_stage(replica) for replica in range(2)] == [(0, 1, 0), (2, 3, 2)]


def test_a_rank_runs_all_stages_of_its_device() -> None:
    ranks = RankMap(SHARED, 2, 4)
    assert [ranks.stages(rank) for rank in range(4)] == [(0, 2), (1,), (0, 2), (1,)]
    assert [ranks.blocks(rank) for rank in range(2)] == [{0, 3}, {1, 2}]


def test_too_few_or_too_many_ranks_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        RankMap(SHARED, 2, 3)
    assert str(caught.value) == (
        "engine=processes needs 4 ranks: engine.data_parallel=2 times one for each of the plan's 2"
        " devices; 3 were started. Start 4 (torchrun --nproc-per-node, --nnodes), or change"
        " engine.data_parallel, placement.device_map or model.layers_per_block."
    )


def test_ranks_are_shared_out_equally_or_not_at_all() -> None:
    assert ranks_per_replica(2, 6) == 3
    with pytest.raises(UsageError, match=r"data_parallel=4 replicas cannot share 6 ranks"):
        ranks_per_replica(4, 6)
