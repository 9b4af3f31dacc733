"""`torch.distributed.pipelining` as `peers` measures it."""

from __future__ import annotations

from datetime import timedelta

import torch.distributed as dist
from torch import Tensor, nn

from benchmarks.loopback import TIMEOUT_S
from benchmarks.peer import Peer
from benchmarks.peer_stage import PeerStage
from benchmarks.peers.variants import TorchPipelining
from benchmarks.plans import plan_of
from benchmarks.shapes import Shape
from benchmarks.trained_subject import TrainedSubject


class PipeliningSubject(TrainedSubject):
    """One rank of it."""

    def __init__(self, variant: TorchPipelining, shape: Shape) -> None:
        size = shape.hidden_size
        gru, head = nn.GRU(size, size, shape.num_layers), nn.Linear(size, 1)
        if not dist.is_initialized():
            # Once for all subjects of this process; they are closed together.
            dist.init_process_group("gloo", timeout=timedelta(seconds=TIMEOUT_S))
        plan = plan_of(shape, variant.schedule, variant.n_micro_batches, 1)
        self.stage = PeerStage(gru, plan.stage_layers(dist.get_rank()), head)
        self._peer = Peer(self.stage, variant.schedule, variant.n_micro_batches, shape.batch_size)
        super().__init__(shape, self.stage.parameters())

    def meet(self) -> None:
        """See `TrainedSubject`."""
        dist.barrier()

    def train(self) -> Tensor | None:
        """See `TrainedSubject`."""
        return self._peer.train_step(self._x, self._y)

    def close(self) -> None:
        """See `TrainedSubject`."""
        if dist.is_initialized():
            dist.destroy_process_group()
