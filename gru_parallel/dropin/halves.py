"""Halves: a stack's F now and its B later, as autograd asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gru_parallel.engine.inline import Inline
from gru_parallel.engine.stages import lowered_schedule
from gru_parallel.engine.workers import Workers
from gru_parallel.model import Windows
from gru_parallel.placement.plan import Plan
from gru_parallel.schedule import Op, segments_of
from gru_parallel.stage.cells import Cells, over_the_batch
from gru_parallel.stage.ends import OutputSection
from gru_parallel.stage.spec import PassSpec, Purpose
from gru_parallel.stage.stage import Stage
from gru_parallel.stage.stage_pass import StagePass


@dataclass(frozen=True)
class Gradients:
    """What the second half finds.

    Attributes:
        x: shape (batch, time, input_size); None where it was not wanted.
        h_0: shape (n_states, batch, hidden_size); None where it was not wanted.
        weights: of each weight, in the order of the stages; None where there is none.
    """

    x: Tensor | None
    h_0: Tensor | None
    weights: list[Tensor | None]


Passes = Sequence[StagePass]
"""Of each stage over a batch that has been run forward: they hold what B needs."""


class Halves:
    """Runs stages without head and loss, forward and then backward from given gradients.

    Args:
        plan: how a batch is cut and scheduled.
        stages: of the plan.
        in_thread: whether the only stage runs in the caller's own thread.
    """

    def __init__(self, plan: Plan, stages: Sequence[Stage], *, in_thread: bool) -> None:
        self._plan = plan
        self._stages = stages
        self._runner: Workers | Inline = Inline(stages) if in_thread else Workers(stages)
        self._runner.open()

    def forward(
        self,
        x: Tensor,
        h_0: Tensor | None,
        lengths: Tensor | None,
        *,
        seed: int,
        gradients: bool,
        wants_dx: bool,
    ) -> tuple[Passes, Tensor, Tensor]:
        """Run F of a batch.

        Args:
            x: inputs, shape (batch, time, input_size).
            h_0: states that enter, shape (n_states, batch, hidden_size); None for zeros.
            lengths: time steps of each row, shape (batch,); None where all are whole.
            seed: of dropout.
            gradients: whether B is to follow.
            wants_dx: whether B is to find the gradient of x.

        Returns:
            passes: what B needs; the two tensors are no part of it.
            y: outputs of the last layer, (time, batch, features), zero after a row's end.
            h_n: last states, shape (n_states, batch, hidden_size).

        Raises:
            Exception: what failed on a stage, with a note that names stage, device, action, cell.
        """
        n_steps = x.shape[1]
        # Sequences come in any length: a short one is cut into its steps.
        n_chunks = min(self._plan.n_chunks, n_steps)
        cells = Cells.cut(x.shape[0], n_steps, self._plan.n_micro_batches, n_chunks, lengths)
        spec = PassSpec(
            Purpose.DIFFERENTIATE,
            Windows(x, h_0=h_0),
            cells,
            segments_of(n_chunks, None),
            seed=seed,
            wants_dx=wants_dx,
        )
        passes = [StagePass(stage, spec) for stage in self._stages]
        lowered = lowered_schedule(self._plan, self._stages, cells, Op.F)
        self._runner.run(passes, lowered, gradients=gradients)
        outputs = passes[-1].head
        assert isinstance(outputs, OutputSection)
        y = over_the_batch(outputs.outputs, cells)
        outputs.outputs.clear()
        h_n = torch.cat([each.h_n().to(y.device) for each in passes])
        return passes, y, h_n

    def backward(self, passes: Passes, dy: Tensor | None, dh_n: Tensor | None) -> Gradients:
        """Run B of a batch, once or more often.

        Args:
            passes: what F left.
            dy: gradient of the outputs, shape (time, batch, features); None for none.
            dh_n: gradient of the last states, shape (n_states, batch, hidden_size); None for none.

        Returns:
            The gradients of what went in.

        Raises:
            Exception: what failed on a stage, with a note that names stage, device, action, cell.
        """
        spec = passes[0].spec
        for each in passes:
            each.give_gradients(None if dy is None else dy.transpose(0, 1), dh_n)
        lowered = lowered_schedule(self._plan, self._stages, spec.cells, Op.B)
        self._runner.run(passes, lowered, gradients=True)
        dx = None
        if spec.wants_dx:
            dx = over_the_batch(passes[0].dx, spec.cells).transpose(0, 1)
        h_0 = spec.windows.h_0
        dh_0 = None
        if h_0 is not None and h_0.requires_grad:
            dh_0 = torch.cat([each.dh_0().to(h_0.device) for each in passes])
        weights = [gradient for each in passes for gradient in each.weight_gradients()]
        return Gradients(dx, dh_0, weights)
