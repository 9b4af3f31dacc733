"""RankMap: which rank runs which stages, where several processes run a plan."""

from dataclasses import dataclass

from gru_parallel.errors import UsageError
from gru_parallel.placement.plan import Plan


@dataclass(frozen=True)
class RankMap:
    """Which rank runs which stages of which replica: in each replica one rank per device.

    Ranks are numbered replica by replica. Within a replica they follow the order in which the
    stages first name their devices, and stages on one device share a rank.

    Attributes:
        plan: of each replica.
        data_parallel: number of replicas.
        world_size: number of ranks of all replicas.

    Raises:
        UsageError: plan and replicas need another number of ranks.
    """

    plan: Plan
    data_parallel: int
    world_size: int

    def __post_init__(self) -> None:
        wanted = self.ranks_per_replica * self.data_parallel
        if wanted != self.world_size:
            raise UsageError(
                f"engine=processes needs {wanted} ranks: engine.data_parallel={self.data_parallel}"
                f" times one for each of the plan's {self.ranks_per_replica} devices;"
                f" {self.world_size} were started. Start {wanted} (torchrun --nproc-per-node,"
                " --nnodes), or change engine.data_parallel, placement.device_map or"
                " model.layers_per_block."
            )

    @property
    def ranks_per_replica(self) -> int:
        """The number of ranks that run one copy of the pipeline."""
        return len(set(self.plan.devices))

    def replica(self, rank: int) -> int:
        """The replica that a rank belongs to."""
        return rank // self.ranks_per_replica

    def ranks(self, replica: int) -> range:
        """The ranks of a replica."""
        first = replica * self.ranks_per_replica
        return range(first, first + self.ranks_per_replica)

    def rank_of_each_stage(self, replica: int) -> tuple[int, ...]:
        """For each stage of a replica in order, the rank that runs it."""
        ranks = dict(zip(dict.fromkeys(self.plan.devices), self.ranks(replica), strict=True))
        return tuple(ranks[device] for device in self.plan.devices)

    def stages(self, rank: int) -> tuple[int, ...]:
        """The indices of the stages that a rank runs."""
        ranks = self.rank_of_each_stage(self.replica(rank))
        return tuple(stage for stage, other in enumerate(ranks) if other == rank)

    def blocks(self, rank: int) -> frozenset[int]:
        """The indices of the blocks that a rank runs."""
        stages = (self.plan.stages[stage] for stage in self.stages(rank))
        return frozenset(block for stage in stages for block in stage.blocks)


def ranks_per_replica(data_parallel: int, world_size: int) -> int:
    """Share the ranks out among replicas, before there is a plan.

    Raises:
        UsageError: they cannot be shared equally.
    """
    if world_size % data_parallel:
        raise UsageError(
            f"engine.data_parallel={data_parallel} replicas cannot share {world_size} ranks"
            " equally; start a multiple of engine.data_parallel (torchrun --nproc-per-node,"
            " --nnodes), or change it."
        )
    return world_size // data_parallel
