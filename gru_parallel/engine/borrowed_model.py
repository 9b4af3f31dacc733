"""BorrowedModel: the caller's model, as the stages compute with it in one call."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from gru_parallel.engine.stages import modules_of_stages
from gru_parallel.engine.stand_ins import StandIns
from gru_parallel.engine.unsupported import refuse_what_looks_inside
from gru_parallel.errors import UsageError
from gru_parallel.model import StackModel
from gru_parallel.placement.plan import Plan
from gru_parallel.stage.cells import Cells
from gru_parallel.stage.own_code import check_forwards, refuse_hooks_never_called
from gru_parallel.stage.pieces import check_head, encode_whole, why_uncut
from gru_parallel.stage.stage import Stage, StageModules, put_on


class BorrowedModel:
    """Hands the stages the modules of a model that stays the caller's, as it is at each call.

    Args:
        plan: which blocks make which stage.
        stages: of the plan.
        own_stages: those that run in this process.
        n_replicas: pipelines that share a batch.
    """

    def __init__(
        self,
        plan: Plan,
        stages: Sequence[Stage],
        own_stages: Sequence[Stage],
        n_replicas: int,
    ) -> None:
        self._plan = plan
        self._stages = stages
        self._own_stages = own_stages
        self._n_replicas = n_replicas
        self._said: str | None = None

    def place(self, model: StackModel) -> None:
        """Move every module to the device of its stage."""
        modules = modules_of_stages(model, self._plan)
        for stage in self._own_stages:
            stage.place(modules[stage.index])

    def take(
        self, model: StackModel, x: Tensor, lengths: Tensor | None, cells: Cells
    ) -> tuple[list[Tensor], Tensor]:
        """Let the stages compute with the model's modules as they are now.

        Args:
            model: of the caller.
            x: windows, shape (batch, time, n_channels).
            lengths: time steps of each window, shape (batch,); None where all are whole.
            cells: of the batch.

        Returns:
            weights: of the stages of this process, in their order, with the history they have.
            encoded: what the first stage takes in, shape (batch, time, features): x itself, where
                the encoder is cut with the stack.

        Raises:
            UsageError: the model does not go with the plan, or with a batch that is cut so.
            ShapeError: an encoder that runs on whole batches does not keep steps and rows.
        """
        modules = modules_of_stages(model, self._plan)
        check_forwards(model, is_cut=cells.is_cut)
        refuse_hooks_never_called(model)
        check_head(model.head, cells, is_whole=self._n_replicas == 1)
        modules[0], encoded = self._encode(modules[0], x, lengths)
        refuse_what_looks_inside((x, *model.parameters()), "A pipeline", "train in one piece.")
        stand_ins = StandIns()
        for stage in self._stages:
            stage.modules = modules[stage.index]
        for stage in self._own_stages:
            stage.modules = stand_ins.of_stage(stage, stage.modules)
        leaves = (leaf for stage in self._own_stages for leaf in stage.modules.weights())
        return stand_ins.weights(leaves), encoded

    def _encode(
        self, first: StageModules, x: Tensor, lengths: Tensor | None
    ) -> tuple[StageModules, Tensor]:
        """Run an encoder that cannot be cut; return what is left for the first stage to do."""
        encoder = first.encoder
        reason = None if encoder is None else why_uncut(encoder)
        if encoder is None or reason is None:
            return first, x
        self._say_uncut(reason)
        stage = self._own_stages[0]
        if stage.is_first:
            put_on(encoder, stage.lane.device)
            x = encode_whole(encoder, x, lengths, stage.lane.device)
        return replace(first, encoder=None), x

    def _say_uncut(self, reason: str) -> None:
        """Say, once for each reason, that the encoder runs on whole batches."""
        if self._n_replicas > 1:
            raise UsageError(
                f"The encoder has to run on whole batches, which {self._n_replicas} replicas share:"
                f" {reason} Use one replica, or change the encoder."
            )
        if self._said != reason:
            self._said = reason
            warnings.warn(
                f"The encoder runs on whole batches, before the pipeline: {reason}", stacklevel=5
            )
