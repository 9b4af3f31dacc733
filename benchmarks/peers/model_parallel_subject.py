"""Two `nn.GRU`s of half the layers as `peers` measures them: in a row, and by `torchgpipe`."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from benchmarks.peer_stage import PeerStage
from benchmarks.peers.variants import ModelParallel, TorchGPipe
from benchmarks.plans import plan_of
from benchmarks.shapes import N_STAGES, Shape
from benchmarks.trained_subject import TrainedSubject


def make_stages(shape: Shape) -> nn.Sequential:
    """Build the two `nn.GRU`s, with the head behind the second."""
    size = shape.hidden_size
    gru, head = nn.GRU(size, size, shape.num_layers), nn.Linear(size, 1)
    plan = plan_of(shape, "gpipe", 1, 1)
    return nn.Sequential(
        *(PeerStage(gru, plan.stage_layers(stage), head) for stage in range(N_STAGES))
    )


class ModelParallelSubject(TrainedSubject):
    """The stages one after the other.

    People move the outputs of one to the device of the next. On the CPU there is nothing to move,
    and one thread works at a time.
    """

    def __init__(self, variant: ModelParallel | None, shape: Shape) -> None:
        del variant
        stages = make_stages(shape)
        self._run: nn.Module = stages
        super().__init__(shape, stages.parameters())

    def train(self) -> Tensor:
        """See `TrainedSubject`."""
        loss = nn.functional.mse_loss(self._run(self._x), self._y)
        loss.backward()
        return loss.detach()


class TorchGPipeSubject(ModelParallelSubject):
    """The same stages by `torchgpipe`, which keeps all activations, as the others do."""

    def __init__(self, variant: TorchGPipe, shape: Shape) -> None:
        super().__init__(None, shape)
        # Old, and often not installed.
        gpipe: Any = import_module("torchgpipe").GPipe

        cut = partial(gpipe, balance=[1] * N_STAGES, devices=["cpu"] * N_STAGES)
        self._run = cut(self._run, chunks=variant.n_micro_batches, checkpoint="never")
