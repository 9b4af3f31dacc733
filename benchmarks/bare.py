"""The cells of a pipeline with no engine around them: stages called directly, in one thread."""

from __future__ import annotations

from torch import Tensor, nn

from gru_parallel.engine.cells import Cells
from gru_parallel.engine.devices import torch_device
from gru_parallel.engine.lane import make_lane
from gru_parallel.engine.stage import Batch, Stage, StageModules
from gru_parallel.model import StackModel, SumLoss
from gru_parallel.placement import Plan
from gru_parallel.schedule import Action, Op, build_schedule, simulate


class BareCells:
    """Runs F and B of every cell of a plan, and nothing else.

    Args:
        model: encoder, blocks and head; its parameters may be another engine's, too.
        plan: how the model and the batch are cut; its schedule gives the order.
        loss: what is minimised.
    """

    def __init__(self, model: StackModel, plan: Plan, loss: SumLoss) -> None:
        self._plan = plan
        self._loss = loss
        self._stages = [
            Stage(index, placed.device, modules, make_lane(torch_device(placed.device)))
            for index, (placed, modules) in enumerate(
                zip(plan.stages, _stage_modules(model, plan), strict=True)
            )
        ]
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
        cells = Cells.cut(x.shape[0], x.shape[1], plan.n_micro_batches, plan.n_chunks)
        batch = Batch(cells, x, y, self._loss)
        for stage in self._stages:
            stage.begin(batch)
        handed_over: dict[Action, Tensor | None] = {}
        for action in self._order:
            stage = self._stages[action.stage]
            step = 1 if action.op is Op.F else -1
            run = stage.forward if action.op is Op.F else stage.backward
            result = run(action.cell, handed_over.pop(action, None))
            if result is not None:
                handed_over[Action(action.stage + step, action.op, *action.cell)] = result
        results = [stage.end() for stage in self._stages]
        loss = results[-1].loss
        assert loss is not None
        return loss, [gradient for result in results for gradient in result.gradients]


def merged_order(plan: Plan) -> tuple[Action, ...]:
    """List all F and B of a step as they begin in the pipeline, each stage's in its own order."""
    schedule = build_schedule(plan.schedule, plan.n_stages, plan.n_micro_batches, plan.n_chunks)
    return tuple(event.action for event in simulate(schedule, lambda _: 1.0).events)


def _stage_modules(model: StackModel, plan: Plan) -> list[StageModules]:
    blocks = model.gru.gru_blocks
    encoders: list[nn.Module | None] = [model.encoder, *[None] * (plan.n_stages - 1)]
    return [
        StageModules(
            encoder=encoder,
            blocks=blocks[placed.blocks.start : placed.blocks.stop],
            head=model.head if placed is plan.stages[-1] else None,
        )
        for placed, encoder in zip(plan.stages, encoders, strict=True)
    ]
