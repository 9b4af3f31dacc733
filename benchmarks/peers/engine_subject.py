"""An engine of this library as `peers` measures it: in one process, or one rank of it."""

from __future__ import annotations

from functools import cache

import torch.distributed as dist
from torch import Tensor

from benchmarks.loopback import TIMEOUT_S
from benchmarks.model import make_model
from benchmarks.peers.variants import EngineVariant, Runner
from benchmarks.shapes import Shape
from benchmarks.trained_subject import TrainedSubject
from gru_parallel.engine.pipeline import PipelineEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import LOSSES, Windows
from gru_parallel.processes.process_engine import ProcessEngine
from gru_parallel.ranks import Launch, Ranks, join


@cache
def ranks_of_run() -> Ranks:
    """Join the other ranks, once for all subjects of this process."""
    launch = Launch.from_environment()
    assert launch is not None
    return join(launch, timeout_s=TIMEOUT_S)


class EngineSubject(TrainedSubject):
    """An engine of this library; where it runs in processes, one rank of it."""

    def __init__(self, variant: EngineVariant, shape: Shape) -> None:
        model = make_model(shape, variant.core)
        plan, loss = variant.plan(shape), LOSSES["mse"]
        self._ranks = None
        self._engine: PipelineEngine
        if variant.runner is Runner.THREADS:
            self._engine = ThreadEngine(model, plan, loss)
        else:
            self._ranks = ranks_of_run()
            self._engine = ProcessEngine(model, plan, loss, ranks=self._ranks)
        super().__init__(shape, model.parameters())

    def meet(self) -> None:
        """See `TrainedSubject`."""
        if self._ranks is not None:
            dist.barrier()

    def train(self) -> Tensor:
        """See `TrainedSubject`."""
        loss = self._engine.train_step(Windows(self._x, self._y))
        loss.backward()
        return loss.detach()

    def close(self) -> None:
        """See `TrainedSubject`."""
        self._engine.close()
        if self._ranks is not None:
            # Once for all subjects of this process; they are closed together.
            self._ranks.close()
