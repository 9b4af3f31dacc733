"""TrainedSubject: a training step that this process runs, alone or as one rank of several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from time import perf_counter

from torch import Tensor, nn

from benchmarks.batch import draw_batch
from benchmarks.samples import Step
from benchmarks.shapes import Shape
from benchmarks.stopwatch import drop_gradients, timed


class TrainedSubject(ABC):
    """A training step, forward and backward, as this process takes part in it.

    Args:
        shape: the size of the step.
        parameters: those of this process.

    Attributes:
        parameters: see above.
    """

    def __init__(self, shape: Shape, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = tuple(parameters)
        self._x, self._y = draw_batch(shape)

    def step(self) -> Step:
        """Run one training step and say what it took here."""
        self.meet()
        began_s = perf_counter()
        wall_ms, cpu_ms = timed(self.train)
        drop_gradients(self.parameters)
        return Step(wall_ms, cpu_ms, began_s=began_s)

    def meet(self) -> None:  # noqa: B027 - most have nobody to wait for
        """Wait for the other ranks, before a step's time begins."""

    @abstractmethod
    def train(self) -> Tensor | None:
        """Run forward and backward; return the loss where it is known."""

    def close(self) -> None:  # noqa: B027 - most have started nothing
        """End what was started."""
