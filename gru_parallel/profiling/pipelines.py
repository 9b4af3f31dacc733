"""Short pipelines of a model's parts, run by the engine, so that parts are timed as in a run.

On CPUs the stages of one process wait for the interpreter's lock at every operator that Python
calls, and share caches. What a cell takes beside a busy stage is therefore not its CPU time, nor
what it takes alone; the engine's own record of a step has it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from itertools import count, islice
from statistics import mean, median

import torch
from torch import nn

from gru_parallel.engine.graphs import N_EAGER
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.engine.torch_device import torch_device
from gru_parallel.model import LOSSES, GRUStack, StackModel, SumLoss, Windows
from gru_parallel.model.head import Head, StepHead, WindowHead
from gru_parallel.placement import Grid, Plan, StagePlan
from gru_parallel.planning.cell_costs import CellTimes, LayerKind, LinearKind
from gru_parallel.profiling.cell_sizes import enough_products
from gru_parallel.schedule import Op, Timeline

_LOSS = LOSSES["mse"]
_DROPOUT = 0.1

N_STEPS_OF_PASS = 48
"""A pass has about so many steps, so that short chunks come one after the other, as in a run."""
LEAST_CHUNKS = 3
"""So that one is neither the first nor the last."""
MOST_CHUNKS = 8
ENOUGH_MS = 20.0
"""A sample runs steps until they have taken so long together."""
MOST_STEPS = 6
"""But no more than these, recording left out."""


@dataclass(frozen=True)
class Precision:
    """The number type of a run.

    Attributes:
        weights: the type of weights.
        autocast: the type that autocast asks for; None where it is off.
    """

    weights: torch.dtype = torch.float32
    autocast: torch.dtype | None = None

    def context(self, device: torch.device) -> AbstractContextManager[object]:
        """Return what a step runs in."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(device.type, self.autocast)


def steps(
    model: StackModel,
    plan: Plan,
    windows: Windows,
    loss: SumLoss,
    precision: Precision,
    *,
    graphs: bool | None,
    waits: bool,
) -> Generator[ThreadEngine, None, None]:
    """Run training steps, one after the other, and yield after each, but not before it is recorded.

    Args:
        model: of the plan.
        plan: which block runs where.
        windows: the batch of each step.
        loss: of the run.
        precision: of the run.
        graphs: as of the engine, whose steps are recorded and replayed unless it is False.
        waits: whether each action is waited for, so that the engine's timeline shows its work.

    Yields:
        The engine; a device may still be at work.
    """
    with ThreadEngine(model, plan, loss, graphs=graphs) as engine:
        engine.measure = waits
        for number in count():
            model.zero_grad(set_to_none=True)
            with precision.context(torch_device(plan.devices[-1])):
                engine.train_step(windows, number).backward()
            if graphs is False or number >= N_EAGER:
                yield engine


@dataclass(frozen=True)
class Sample:
    """What is run to time one part on one size of cells, and where in it the part is.

    Attributes:
        layer: of which all layers are, or the first, where it does not take what it gives out.
        n_layers: of each stage.
        devices: of the stages, by name.
        rows: of a cell.
        steps: of a cell.
        encoder: before the first layer; None for none.
        head: after the last layer; None for one that takes next to nothing.
        of_head: whether the head is what the last chunk of the last stage takes longer than others.
    """

    layer: LayerKind
    n_layers: int
    devices: tuple[str, ...]
    rows: int
    steps: int
    encoder: LinearKind | None = None
    head: LinearKind | None = None
    of_head: bool = False

    def stages(self, op: Op) -> Sequence[int]:
        """List the stages that are looked at.

        The first is left out of B, where it has no use for the gradient of its input.
        """
        if self.encoder is not None or self.layer.output_size != self.layer.input_size:
            return (0,)
        last = len(self.devices) - 1
        return (last,) if self.head is not None else range(0 if op is Op.F else last, last + 1)

    @property
    def n_chunks(self) -> int:
        """Chunks of its window; a barrier would have all of them run at once."""
        if self.layer.bidirectional:
            return 1
        n_enough = 2 * enough_products(is_cpu=self.devices[0].startswith("cpu"))
        n_products = self.n_layers * self.layer.n_products * self.rows
        # Few chunks of many multiplications do: such cells are long as they are.
        n_steps = min(N_STEPS_OF_PASS, int(n_enough / n_products))
        return max(LEAST_CHUNKS, min(MOST_CHUNKS, n_steps // self.steps))

    @property
    def n_micro_batches(self) -> int:
        """Micro-batches, so that stages have something to do at the same time."""
        return 2 if self.n_chunks == 1 and len(self.devices) > 1 else 1

    def times(self, precision: Precision, *, replays: bool) -> CellTimes:
        """Run it, and return what the stage took for a cell, or more for the last one."""
        joint = self._of_step("one_f_one_b", precision, replays=replays)
        if self.layer.core == "native":
            return CellTimes(joint(Op.F), joint(Op.B), 0.0, joint(Op.B))
        apart = self._of_step("zero_bubble", precision, replays=replays)
        forward_ms = mean((joint(Op.F), apart(Op.F)))
        return CellTimes(forward_ms, apart(Op.B), apart(Op.W), joint(Op.B))

    def _of_step(
        self, schedule: str, precision: Precision, *, replays: bool
    ) -> Callable[[Op], float]:
        model = self._model().to(dtype=precision.weights)
        n_rows, n_steps = self.rows * self.n_micro_batches, self.steps * self.n_chunks
        n_channels = self.layer.input_size if self.encoder is None else self.encoder.in_features
        x = torch.randn(n_rows, n_steps, n_channels, dtype=precision.weights)
        y = torch.randn(
            n_rows,
            *((n_steps,) if model.head.every_step else ()),
            *model.head.output_shape,
            dtype=precision.weights,
        )
        grid = Grid(1, schedule, self.n_micro_batches, self.n_chunks)
        stages = tuple(
            StagePlan(name, index * self.n_layers, self.n_layers)
            for index, name in enumerate(self.devices)
        )
        plan = Plan(self.n_layers * len(stages), grid, stages)
        timelines: list[Timeline] = []
        spent_ms = 0.0
        # An accelerator's times would be those of its queue.
        graphs = None if replays else False
        running = steps(model, plan, Windows(x, y), _LOSS, precision, graphs=graphs, waits=True)
        with closing(running):
            for engine in islice(running, MOST_STEPS):
                assert engine.timeline is not None
                timelines.append(engine.timeline)
                spent_ms += engine.timeline.step_ms
                # What was recorded is made ready on the device when it is first replayed.
                if spent_ms > ENOUGH_MS and (len(timelines) > 1 or not replays):
                    break
        # A first step may be longer. Where it took so long that it is the only one
        # it counts: another would cost more rounds than that is worth.
        warm = timelines[1:] or timelines
        return lambda op: median(self.mean_ms(timeline, op) for timeline in warm)

    def mean_ms(self, timeline: Timeline, op: Op) -> float:
        """Return what an action took in a step, or with `of_head` how much longer the last one."""
        events = [
            event
            for stage in self.stages(op)
            for event in timeline.stage_events(stage)
            if event.action.op is op
        ]
        last = self.n_chunks - 1
        # The F of the first chunk finds its worker asleep; the last chunk has the head besides.
        first = 1 if op is Op.F else 0
        at_end = [event.duration_ms for event in events if event.action.chunk == last]
        between = [event.duration_ms for event in events if first <= event.action.chunk < last]
        if self.of_head:
            return max(0.0, mean(at_end) - mean(between))
        return mean(between or at_end)

    def _model(self) -> StackModel:
        layer, encoder = self.layer, self.encoder
        stack = GRUStack(
            layer.input_size,
            layer.hidden_size,
            self.n_layers * len(self.devices),
            dropout=_DROPOUT if layer.has_dropout else 0.0,
            bidirectional=layer.bidirectional,
            core=layer.core,
            residual=layer.has_residual,
            norm="layer" if layer.has_norm else "none",
        )
        first: nn.Module = nn.Identity()
        if encoder is not None:
            first = nn.Linear(encoder.in_features, encoder.out_features)
        return StackModel(first, stack, self._head())

    def _head(self) -> Head:
        width = self.layer.output_size
        if self.head is None:
            return WindowHead(width, (1,))
        if self.head.every_step:
            return StepHead(width, self.head.out_features)
        return WindowHead(width, (self.head.out_features,))


def median_of(samples: Sequence[CellTimes]) -> CellTimes:
    """Return the median of each time."""
    return CellTimes(*map(median, zip(*samples, strict=True)))


def difference(whole: CellTimes, part: CellTimes) -> CellTimes:
    """Return what is left of a time without a part of it, no less than nothing."""
    return CellTimes(*(max(0.0, all_ - some) for all_, some in zip(whole, part, strict=True)))
