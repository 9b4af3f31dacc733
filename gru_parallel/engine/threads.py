"""The threads engine: one process, any number of devices, one worker thread per stage."""

from __future__ import annotations

import torch
from torch import Tensor

from gru_parallel.engine.pipeline import PipelineEngine
from gru_parallel.engine.stages import make_stages, modules_of_stages
from gru_parallel.engine.workers import Workers
from gru_parallel.model import StackModel, SumLoss
from gru_parallel.placement.plan import Plan


class ThreadEngine(PipelineEngine):
    """Runs all stages in this process; see `PipelineEngine`."""

    def __init__(
        self,
        model: StackModel,
        plan: Plan,
        loss: SumLoss | None = None,
        *,
        seed: int = 0,
        graphs: bool | None = None,
    ) -> None:
        stages = make_stages(plan, modules_of_stages(model, plan))
        workers = Workers(stages)
        super().__init__(
            model, plan, loss, seed=seed, stages=stages, workers=workers, graphs=graphs
        )

    @property
    def carried(self) -> dict[str, Tensor]:
        """See `Engine`; the states come on the CPU, and go to their stages' devices when set."""
        uses = self._stages[0].carried
        return {
            use: torch.cat([stage.carried[use].cpu() for stage in self._stages]) for use in uses
        }

    @carried.setter
    def carried(self, states: dict[str, Tensor]) -> None:
        for stage in self._stages:
            stage.carry(states)
