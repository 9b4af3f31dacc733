"""PeerGroups: one process group per direction between neighbouring stages on different ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch.distributed import ProcessGroup

from gru_parallel.ranks import Ranks
from gru_parallel.schedule import Action, Op, Schedule, partner

Hop = tuple[int, int, Op]
"""The stage that sends, the stage that receives, and the op with which it does."""


class PeerGroups:
    """The process groups of two ranks each over which one replica's stages transfer.

    Each direction between two stages has its own group, so that transfers in one direction never
    wait for those in the other. All ranks of a replica make them together.

    Args:
        ranks: of the run.
        rank_of_stage: the rank of each stage of this replica.
        lowered: the schedule with its sends and receives.
        backend: "gloo" or "nccl".

    Attributes:
        backend: see above.
        rank_of_stage: see above.
    """

    def __init__(
        self, ranks: Ranks, rank_of_stage: Sequence[int], lowered: Schedule, backend: str
    ) -> None:
        self.backend = backend
        self.rank_of_stage = tuple(rank_of_stage)
        self._groups: dict[Hop, ProcessGroup] = {}
        hops = {
            _hop(action, lowered.n_stages)
            for stage in lowered.actions
            for action in stage
            if action.op.is_receive
        }
        for hop in sorted(hops):
            members = [self.rank_of_stage[stage] for stage in hop[:2]]
            if members[0] != members[1] and ranks.rank in members:
                self._groups[hop] = ranks.new_group(members, backend)

    def connect(self, ranks: Ranks, device: torch.device) -> None:
        """Send one byte over each group: NCCL connects at the first use, and waits for it.

        All ranks of a replica call this together.

        Args:
            ranks: of the run.
            device: of this rank.
        """
        token = torch.zeros(1, dtype=torch.uint8, device=device)
        for hop in sorted(self._groups):
            source, target = (self.rank_of_stage[stage] for stage in hop[:2])
            with ranks.waiting(f"the connection from rank {source} to rank {target}"):
                if ranks.rank == source:
                    dist.send(token, target, group=self._groups[hop])
                else:
                    dist.recv(token, source, group=self._groups[hop])

    def find(self, action: Action) -> tuple[ProcessGroup, int] | None:
        """Return the group of a SEND or RECV and the other rank; None if both stages are here."""
        n_stages = len(self.rank_of_stage)
        other = partner(action, n_stages)
        group = self._groups.get(_hop(action if action.op.is_receive else other, n_stages))
        return None if group is None else (group, self.rank_of_stage[other.stage])


def _hop(receive: Action, n_stages: int) -> Hop:
    return partner(receive, n_stages).stage, receive.stage, receive.op
