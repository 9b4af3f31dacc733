"""BorrowedModel: the caller's model, as the stages compute with it in one call."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import is_
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from gru_parallel.engine.context import refuse_what_looks_inside
from gru_parallel.engine.stages import modules_of_stages
from gru_parallel.engine.stand_ins import StandIns
from gru_parallel.errors import UsageError
from gru_parallel.model import StackModel, Windows
from gru_parallel.placement.plan import Plan
from gru_parallel.stage.cells import Cells
from gru_parallel.stage.own_code import check_forwards, refuse_hooks, refuse_hooks_never_called
from gru_parallel.stage.pieces import check_head, encode_whole, why_uncut
from gru_parallel.stage.stage import Stage, put_on


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
        self._weights: list[Tensor] = []
        self._is_encoded_first = False
        self._model: StackModel | None = None
        self._is_watched = False
        self._contents: list[tuple[nn.Module, list[object]]] = []
        self._forms: list[tuple[Tensor, tuple[object, ...]]] = []
        self._checked: set[tuple[bool, ...]] = set()

    def place(self, model: StackModel) -> None:
        """Move every module to the device of its stage."""
        modules = modules_of_stages(model, self._plan)
        for stage in self._own_stages:
            stage.place(modules[stage.index])

    def take(
        self, model: StackModel, windows: Windows, cells: Cells, *, training: bool
    ) -> tuple[list[Tensor], Tensor]:
        """Let the stages compute with the model's modules as they are now.

        Args:
            model: of the caller.
            windows: of the call.
            cells: of the batch.
            training: whether B follows.

        Returns:
            weights: of the stages of this process, in their order, with the history they have.
            encoded: what the first stage takes in, shape (batch, time, features): x itself, where
                the encoder is cut with the stack.

        Raises:
            UsageError: the model does not go with the plan, or with a batch that is cut so.
            ShapeError: an encoder that runs on whole batches does not keep steps and rows.
        """
        # Parameters are looked at only where torch differentiates forward.
        tensors = (tensor for some in ((windows.x,), model.parameters()) for tensor in some)
        refuse_what_looks_inside(tensors, "A pipeline", "train in one piece.")
        cut = (training, cells.n_micro_batches > 1, cells.n_chunks > 1, cells.lengths is None)
        if not self._is_as_before(model):
            self._checked.clear()
        if cut not in self._checked:
            self._look(model, cells, training=training)
            self._checked.add(cut)
        return self._weights, self._encode(model.encoder, windows)

    def _look(self, model: StackModel, cells: Cells, *, training: bool) -> None:
        """Check the model, and make what the stages compute with, as far as it has changed."""
        modules = modules_of_stages(model, self._plan)
        check_forwards(model, is_cut=cells.is_cut)
        refuse_hooks_never_called(model)
        if training:
            refuse_hooks(model, is_cut=cells.is_cut)
        check_head(model.head, cells, is_whole=self._n_replicas == 1)
        if self._checked:
            # Looked at before, for a batch that was cut otherwise.
            return
        self._is_encoded_first = self._encodes_whole_batches(model.encoder)
        if self._is_encoded_first:
            modules[0] = replace(modules[0], encoder=None)
        stand_ins = StandIns()
        for stage in self._stages:
            stage.modules = modules[stage.index]
        for stage in self._own_stages:
            stage.modules = stand_ins.of_stage(stage, stage.modules)
        here = [stage.modules for stage in self._own_stages]
        self._weights = stand_ins.weights(leaf for modules in here for leaf in modules.weights())
        parts = (part for modules in here for top in modules.all_modules for part in top.modules())
        self._model = model if stand_ins.are_lasting else None
        self._is_watched = _has_any_global_hook()
        # The stand-ins must not change either, as by a forward that sets an attribute.
        self._contents = [(part, _contents_of(part)) for part in (*model.modules(), *parts)]
        self._forms = [(weight, _form_of(weight)) for weight in model.parameters()]

    def _is_as_before(self, model: StackModel) -> bool:
        """Whether nothing has changed in the model since it was last looked at."""
        if model is not self._model or _has_any_global_hook() != self._is_watched:
            return False
        for part, before in self._contents:
            now = _contents_of(part)
            if len(now) != len(before) or not all(map(is_, now, before)):
                return False
        return all(_form_of(weight) == before for weight, before in self._forms)

    def _encode(self, encoder: nn.Module, windows: Windows) -> Tensor:
        """Run an encoder that cannot be cut; return what is left for the first stage to do."""
        stage = self._own_stages[0]
        if not (self._is_encoded_first and stage.is_first):
            return windows.x
        put_on(encoder, stage.lane.device)
        return encode_whole(encoder, windows.x, windows.lengths, stage.lane.device)

    def _encodes_whole_batches(self, encoder: nn.Module) -> bool:
        """Whether the encoder runs on whole batches; says so, once for each reason."""
        reason = why_uncut(encoder)
        if reason is None:
            return False
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
        return True


def _contents_of(part: nn.Module) -> list[object]:
    """List what a module consists of, names included; compared by identity."""
    kind = type(part)
    found: list[Mapping[Any, object]] = [
        vars(part),
        part._parameters,
        part._modules,
        part._forward_hooks,
        part._forward_pre_hooks,
        part._backward_hooks,
        part._backward_pre_hooks,
        *(vars(weight) for weight in part._parameters.values() if weight is not None),
    ]
    return [kind, kind.forward, *(each for d in found for pair in d.items() for each in pair)]


def _form_of(weight: Tensor) -> tuple[object, ...]:
    """Say where and in which form a weight is."""
    memory = weight.data_ptr(), weight.shape, weight.stride()
    return *memory, weight.device, weight.dtype, weight.requires_grad
