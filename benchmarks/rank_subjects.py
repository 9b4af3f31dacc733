"""What is measured in `processes`: an engine in one process, or the ranks of a step in several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from time import perf_counter

import torch.distributed as dist
from torch import Tensor, nn

from benchmarks.batch import draw_batch
from benchmarks.peer import Peer, PeerStage
from benchmarks.plans import plan_of
from benchmarks.rank_variants import EngineVariant, PeerVariant, Runner
from benchmarks.samples import Step
from benchmarks.shapes import Shape
from benchmarks.stopwatch import drop_gradients, timed
from gru_parallel.engine.pipeline import PipelineEngine
from gru_parallel.engine.processes import ProcessEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import LOSSES, GRUStack, StackModel, WindowHead
from gru_parallel.ranks import Launch, join

TIMEOUT_S = 60.0


class TrainedSubject(ABC):
    """A training step, forward and backward, as this process takes part in it.

    Args:
        shape: the size of the step.
        parameters: those of this process.
        between_steps: called before a step's time begins, to wait for the other ranks.

    Attributes:
        parameters: see above.
    """

    def __init__(
        self,
        shape: Shape,
        parameters: Iterable[nn.Parameter],
        between_steps: Callable[[], object],
    ) -> None:
        self.parameters = tuple(parameters)
        self._x, self._y = draw_batch(shape)
        self._between_steps = between_steps

    def step(self) -> Step:
        """Run one training step and say what it took here."""
        self._between_steps()
        began_s = perf_counter()
        wall_ms, cpu_ms = timed(self.train)
        drop_gradients(self.parameters)
        return Step(wall_ms, cpu_ms, began_s=began_s)

    @abstractmethod
    def train(self) -> Tensor | None:
        """Run forward and backward; return the loss where it is known."""

    @abstractmethod
    def close(self) -> None:
        """End what was started."""


class EngineSubject(TrainedSubject):
    """An engine of this library; where it runs in processes, one rank of it."""

    def __init__(self, variant: EngineVariant, shape: Shape) -> None:
        size = shape.hidden_size
        stack = GRUStack(size, size, shape.num_layers)
        model = StackModel(nn.Identity(), stack, WindowHead(size, (1,)))
        plan, loss = variant.plan(shape), LOSSES["mse"]
        self._ranks = None
        self._engine: PipelineEngine
        if variant.runner is Runner.THREADS:
            self._engine = ThreadEngine(model, plan, loss)
        else:
            launch = Launch.from_environment()
            assert launch is not None
            self._ranks = join(launch, timeout_s=TIMEOUT_S)
            self._engine = ProcessEngine(model, plan, loss, ranks=self._ranks)
        super().__init__(shape, model.parameters(), self._wait_for_others)

    def train(self) -> Tensor:
        loss = self._engine.train_step(self._x, self._y)
        loss.backward()
        return loss.detach()

    def close(self) -> None:
        self._engine.close()
        if self._ranks is not None:
            self._ranks.close()

    def _wait_for_others(self) -> None:
        if self._ranks is not None:
            dist.barrier()


class PeerSubject(TrainedSubject):
    """One rank of the peer."""

    def __init__(self, variant: PeerVariant, shape: Shape) -> None:
        size = shape.hidden_size
        gru, head = nn.GRU(size, size, shape.num_layers), nn.Linear(size, 1)
        dist.init_process_group("gloo")
        plan = plan_of(shape, variant.schedule, variant.n_micro_batches, 1)
        self.stage = PeerStage(gru, plan.stage_layers(dist.get_rank()), head)
        self._peer = Peer(self.stage, variant.schedule, variant.n_micro_batches, shape.batch_size)
        super().__init__(shape, self.stage.parameters(), dist.barrier)

    def train(self) -> Tensor | None:
        return self._peer.train_step(self._x, self._y)

    def close(self) -> None:
        dist.destroy_process_group()


def make_rank_subject(variant: EngineVariant | PeerVariant, shape: Shape) -> TrainedSubject:
    """Build what a variant measures in this process."""
    if isinstance(variant, PeerVariant):
        return PeerSubject(variant, shape)
    return EngineSubject(variant, shape)
