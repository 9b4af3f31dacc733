"""The cells of a pipeline with no engine around them: stages called directly, in one thread."""

from __future__ import annotations

from torch import Tensor

from benchmarks.plans import schedule_of
from gru_parallel.engine.stages import make_stages, modules_of_stages
from gru_parallel.model import StackModel, SumLoss, Windows
from gru_parallel.placement import Plan
from gru_parallel.schedule import Action, Op, segments_of, simulate
from gru_parallel.stage.cells import Cells
from gru_parallel.stage.ends import HeadSection
from gru_parallel.stage.section import Parcel
from gru_parallel.stage.spec import PassSpec, Purpose
from gru_parallel.stage.stage_pass import StagePass


class BareCells:
    """Runs F, B and W of every cell of a plan, and nothing else.

    Args:
        model: encoder, blocks and head; its parameters may be another engine's, too.
        plan: how the model and the batch are cut; its schedule gives the order.
        loss: what is minimised.
    """

    def __init__(self, model: StackModel, plan: Plan, loss: SumLoss) -> None:
        self._plan = plan
        self._loss = loss
        self._stages = make_stages(plan, modules_of_stages(model, plan))
        self._separates_weights = schedule_of(plan).separates_weights
        self._order = merged_order(plan)

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor | None]]:
        """Run one training step.

        Args:
            x: windows, shape (batch, time, n_channels).
            y: targets, batch first.

        Returns:
            The loss, and the gradient of each parameter in the model's order.
        """
        plan = self._plan
        cells = Cells.cut(x.shape[0], x.shape[1], plan.grid.n_micro_batches, plan.grid.n_chunks)
        spec = PassSpec(
            Purpose.TRAIN,
            Windows(x, y),
            cells,
            segments_of(plan.grid.n_chunks, None),
            self._loss,
            self._loss.count(y),
            separates_weights=self._separates_weights,
        )
        passes = [StagePass(stage, spec) for stage in self._stages]
        handed_over: dict[Action, Parcel] = {}
        for action in self._order:
            own = passes[action.stage]
            if action.op is Op.W:
                own.weights(action.cell)
                continue
            step = 1 if action.op is Op.F else -1
            run = own.forward if action.op is Op.F else own.backward
            for parcel in run(action.cell, handed_over.pop(action, None)):
                handed_over[Action(action.stage + step, action.op, parcel.cell)] = parcel
        head = passes[-1].head
        assert isinstance(head, HeadSection)
        assert head.total is not None
        return head.total, [gradient for own in passes for gradient in own.weight_gradients()]


def merged_order(plan: Plan) -> tuple[Action, ...]:
    """List the actions of a step as they begin in the pipeline, each stage's in its own order."""
    return tuple(event.action for event in simulate(schedule_of(plan), lambda _: 1.0).events)
