"""The ways of running a training step on GPUs: F and B of a batch, no optimiser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.gpu.cases import Case, Precision, Way
from benchmarks.gpu.steps import MIN_STEPS
from benchmarks.shapes import Shape
from benchmarks.stopwatch import drop_gradients
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.engine.torch_device import torch_device
from gru_parallel.model import LOSSES, GRUStack, StackModel, WindowHead, Windows
from gru_parallel.model.autocast import flatten
from gru_parallel.model.flat_weights import weights_in_order
from gru_parallel.schedule import Cell, Op

EAGER_STEPS = 3
"""Before a capture, so that cuDNN and the allocator have made their choices."""


class Subject(ABC):
    """Something whose training step can be measured.

    Attributes:
        meet: waits for the other ranks; None where there are none.
        engine: of this library; None where it is not measured.
    """

    meet: Callable[[], object] | None = None
    engine: ThreadEngine | None = None

    @abstractmethod
    def step(self) -> None:
        """Queue one training step."""

    @abstractmethod
    def close(self) -> None:
        """End what was started."""


def make_subject(case: Case, devices: Sequence[str]) -> Subject:
    """Build what a case measures.

    Args:
        case: what to run.
        devices: names of its GPUs, or of logical CPU devices.
    """
    torch.manual_seed(0)
    match case.way:
        case Way.NN_GRU:
            return WholeGRU(case, devices[0])
        case Way.NN_GRAPH:
            return WholeGraph(WholeGRU(case, devices[0], is_flat=True))
        case Way.STAGE:
            return LoneStage(case, devices[0])
        case Way.PEER:
            # What it imports takes a second, which no other case should wait for.
            from benchmarks.gpu.peer_rank import PeerRank

            return PeerRank(case, devices)
        case _:
            return Pipeline(case, devices)


def dtype_of(precision: Precision) -> torch.dtype:
    """Return the type of weights and batch."""
    return torch.bfloat16 if precision is Precision.BFLOAT16 else torch.float32


class WholeGRU(Subject):
    """Plain PyTorch: one `nn.GRU` and a linear head.

    Args:
        case: what to run.
        device: where.
        is_flat: whether its weights lie in one piece of memory in bfloat16 too, where torch leaves
            them apart and has cuDNN copy them at every step.
    """

    def __init__(self, case: Case, device: str, *, is_flat: bool = False) -> None:
        size, dtype = case.shape.hidden_size, dtype_of(case.precision)
        with torch.device(torch_device(device)):
            self._gru = nn.GRU(size, size, case.shape.num_layers, batch_first=True).to(dtype)
            self._head = nn.Linear(size, 1).to(dtype)
        if is_flat:
            flatten(self._gru, weights_in_order(self._gru))
        self.parameters = [*self._gru.parameters(), *self._head.parameters()]
        self._x, self._y = batch_on(case.shape, dtype, device, device)

    def step(self) -> None:
        """See `Subject`."""
        drop_gradients(self.parameters)
        self.forward_and_backward()

    def forward_and_backward(self) -> None:
        """Run a step whose gradients are put where there are none."""
        outputs, _ = self._gru(self._x)
        nn.functional.mse_loss(self._head(outputs[:, -1]), self._y).backward()

    def close(self) -> None:
        """Nothing was started."""


class WholeGraph(Subject):
    """A whole step of plain PyTorch in one CUDA graph: what an expert would write.

    Args:
        whole: that is captured.
    """

    def __init__(self, whole: WholeGRU) -> None:
        self._whole = whole
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(EAGER_STEPS):
                whole.step()
        torch.cuda.current_stream().wait_stream(stream)
        # Where there are none, the graph makes gradients of its own, and each replay writes them.
        drop_gradients(whole.parameters)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=stream):
            whole.forward_and_backward()

    def step(self) -> None:
        """See `Subject`."""
        self._graph.replay()

    def close(self) -> None:
        """Give back what the graph holds."""
        self._graph.reset()


class Pipeline(Subject):
    """The threads engine over all layers.

    Args:
        case: what to run.
        devices: of its stages.
    """

    engine: ThreadEngine

    def __init__(self, case: Case, devices: Sequence[str]) -> None:
        self._model = stack_model(case.shape, dtype_of(case.precision), devices[0])
        graphs = case.way is not Way.EAGER
        self.engine = ThreadEngine(self._model, case.plan(devices), LOSSES["mse"], graphs=graphs)
        x, y = batch_on(case.shape, dtype_of(case.precision), devices[0], devices[-1])
        self._windows = Windows(x, y)
        self._kind = torch_device(devices[0]).type if case.precision is Precision.MIXED else None

    def step(self) -> None:
        """See `Subject`."""
        drop_gradients(self._model.parameters())
        with self._autocast():
            loss = self.engine.train_step(self._windows)
        loss.backward()

    def _autocast(self) -> AbstractContextManager[object]:
        if self._kind is None:
            return nullcontext()
        return torch.autocast(self._kind, torch.bfloat16)

    def close(self) -> None:
        """See `Subject`."""
        self.engine.close()


class LoneStage(Subject):
    """One stage of a pipeline, with nothing before and after it, in graphs.

    It has as many layers as each of the stages of the case, and works out the gradient of its
    inputs as a stage in the middle does.

    Args:
        case: of the whole pipeline.
        device: where.
    """

    engine: ThreadEngine

    def __init__(self, case: Case, device: str) -> None:
        whole = case.shape
        layers = -(-whole.num_layers // case.n_stages)
        shape = Shape(whole.hidden_size, whole.batch_size, whole.n_steps, layers)
        dtype = dtype_of(case.precision)
        self._model = stack_model(shape, dtype, device)
        plan = Case(case.way, shape, case.precision, 1, case.n_chunks).plan([device])
        self.engine = ThreadEngine(self._model, plan, LOSSES["mse"], graphs=True)
        self._n_chunks = case.n_chunks
        self._x, self._y = batch_on(shape, dtype, device, device)
        self._x.requires_grad_()

    def step(self) -> None:
        """See `Subject`."""
        drop_gradients(self._model.parameters())
        self._x.grad = None
        self.engine.train_step(Windows(self._x, self._y)).backward()

    def cells_ms(self, wait: Callable[[], object]) -> tuple[tuple[float, float], ...]:
        """Run some steps more, and wait for the device after each F and B.

        Args:
            wait: for the device; the first F would wait for the end of the step before.

        Returns:
            (F, B) of each chunk in ms, medians over the steps.
        """
        self.engine.measure = True
        steps = []
        for _ in range(MIN_STEPS):
            wait()
            self.step()
            timeline = self.engine.timeline
            assert timeline is not None
            steps.append(
                {
                    (event.action.op, event.action.cell): event.duration_ms
                    for event in timeline.events
                }
            )
        self.engine.measure = False

        def median_ms(op: Op, chunk: int) -> float:
            return median(step[op, Cell(0, chunk)] for step in steps)

        return tuple(
            (median_ms(Op.F, chunk), median_ms(Op.B, chunk)) for chunk in range(self._n_chunks)
        )

    def close(self) -> None:
        """See `Subject`."""
        self.engine.close()


def stack_model(shape: Shape, dtype: torch.dtype, device: str) -> StackModel:
    """Build the model of a pipeline: what `WholeGRU` has, in blocks of one layer."""
    size = shape.hidden_size
    with torch.device(torch_device(device)):
        stack = GRUStack(size, size, shape.num_layers)
        return StackModel(nn.Identity(), stack, WindowHead(size, (1,))).to(dtype)


def batch_on(shape: Shape, dtype: torch.dtype, first: str, last: str) -> tuple[Tensor, Tensor]:
    """Draw a batch; return windows on the first device, and targets on the last."""
    size = (shape.batch_size, shape.n_steps, shape.hidden_size)
    # Not on the host, which takes seconds for the largest.
    with torch.device(torch_device(first)):
        x, y = torch.randn(size, dtype=dtype), torch.randn(shape.batch_size, 1, dtype=dtype)
    return x, y.to(torch_device(last))


def check_replayed(engine: ThreadEngine | None) -> None:
    """Check that an engine that is to use graphs replayed its last call.

    Raises:
        RuntimeError: it ran without graphs.
    """
    if engine is not None and engine.why_not_replayed is not None:
        raise RuntimeError(f"it ran without graphs: {engine.why_not_replayed}")
