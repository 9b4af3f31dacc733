"""BorrowedModel: the caller's model, as the stages compute with it in one call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import attrgetter, is_, methodcaller
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from gru_parallel.engine.context import autocast_of, refuse_what_looks_inside
from gru_parallel.engine.stages import modules_of_stages
from gru_parallel.engine.stand_ins import StandIns
from gru_parallel.errors import UsageError
from gru_parallel.model import StackModel, Windows
from gru_parallel.model.autocast import renew
from gru_parallel.placement.plan import Plan
from gru_parallel.stage.cells import Cells
from gru_parallel.stage.own_code import check_forwards, refuse_hooks, refuse_hooks_never_called
from gru_parallel.stage.pieces import check_head, encode_whole, why_uncut
from gru_parallel.stage.stage import Stage, StageModules, put_on

N_LOOKS = 2
"""Looks that are remembered: a run goes to and fro between training and evaluation."""


@dataclass(frozen=True)
class Look:
    """What was found in a model, and made for the stages, when it was last looked at.

    Attributes:
        model: of the caller.
        asked: by autocast, on each kind of device.
        copies: of weights in another type, each with its weight.
        modules: what each stage runs: stand-ins on the stages of this process.
        weights: of the stages of this process, in their order, with the history they have.
        is_encoded_first: whether the encoder runs on whole batches, before the pipeline.
        is_watched: whether hooks for the calls of all modules were there.
        is_unchanged: whether all modules, stand-ins included, consist of what they did; a forward
            may set an attribute.
        forms: of each weight and buffer.
        cuts: that the model was checked for.
    """

    model: StackModel
    asked: Mapping[str, torch.dtype | None]
    copies: Sequence[tuple[Tensor, Tensor]]
    modules: Sequence[StageModules]
    weights: list[Tensor]
    is_encoded_first: bool
    is_watched: bool
    is_unchanged: Callable[[], bool]
    forms: Sequence[tuple[Tensor, tuple[object, ...]]]
    cuts: set[tuple[bool, ...]]

    def has_weights_of(self, other: Look) -> bool:
        """Whether both found the same weights, in the same memory."""
        here, there = ([(id(w), form) for w, form in look.forms] for look in (self, other))
        return here == there


def _holds(look: Look, model: StackModel, asked: Mapping[str, torch.dtype | None]) -> bool:
    """Whether nothing has changed since, in the model or in what autocast asks for."""
    if model is not look.model or asked != look.asked:
        return False
    if _has_any_global_hook() != look.is_watched:
        return False
    return look.is_unchanged() and all(form_of(weight) == form for weight, form in look.forms)


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
        self._devices = {device for stage in own_stages for device in stage.devices}
        self._n_replicas = n_replicas
        self._said: str | None = None
        self._looks: list[Look] = []

    @property
    def lasting(self) -> list[Sequence[StageModules]]:
        """What was made for the stages in this and other calls, with weights that stay in place."""
        return [look.modules for look in self._looks]

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
        # Looked at only where torch differentiates forward. Some weights are no parameters.
        owners = chain([windows], model.modules())
        held = chain(
            model.parameters(), (each for owner in owners for each in vars(owner).values())
        )
        tensors = (each for each in held if isinstance(each, Tensor))
        refuse_what_looks_inside(tensors, "A pipeline", "train in one piece.")
        cut = (training, cells.n_micro_batches > 1, cells.n_chunks > 1, cells.lengths is None)
        asked = autocast_of(self._devices)
        look = next((look for look in self._looks if _holds(look, model, asked)), None)
        if look is not None and look.copies:
            renew(look.copies)
        if look is None or cut not in look.cuts:
            self._check(model, cells, training=training)
            look = look or self._look(model, asked)
            look.cuts.add(cut)
        for stage, modules in zip(self._stages, look.modules, strict=True):
            stage.modules = modules
        return look.weights, self._encode(look, windows)

    def _check(self, model: StackModel, cells: Cells, *, training: bool) -> None:
        """Refuse a model that does not go with the plan, or with a batch that is cut so."""
        modules_of_stages(model, self._plan)
        check_forwards(model, is_cut=cells.is_cut)
        refuse_hooks_never_called(model)
        if training:
            refuse_hooks(model, is_cut=cells.is_cut)
        check_head(model.head, cells, is_whole=self._n_replicas == 1)

    def _look(self, model: StackModel, asked: Mapping[str, torch.dtype | None]) -> Look:
        """Make what the stages compute with; remember it for as long as the model stays so."""
        modules = modules_of_stages(model, self._plan)
        is_encoded_first = self._encodes_whole_batches(model.encoder)
        if is_encoded_first:
            modules[0] = replace(modules[0], encoder=None)
        stand_ins = StandIns(asked)
        for stage in self._own_stages:
            modules[stage.index] = stand_ins.of_stage(stage, modules[stage.index])
        here = [modules[stage.index] for stage in self._own_stages]
        stand_ins.flatten(gru for each in here for gru in each.grus)
        parts = (part for each in here for top in each.all_modules for part in top.modules())
        look = Look(
            model,
            asked,
            stand_ins.copies,
            modules,
            stand_ins.weights(leaf for each in here for leaf in each.weights()),
            is_encoded_first,
            _has_any_global_hook(),
            _watch([*model.modules(), *parts]),
            [(each, form_of(each)) for each in (*model.parameters(), *model.buffers())],
            set(),
        )
        # Others may hold weights that the model no longer has.
        others = [other for other in self._looks if other.has_weights_of(look)]
        self._looks = [look, *others][:N_LOOKS] if stand_ins.are_lasting else []
        return look

    def _encode(self, look: Look, windows: Windows) -> Tensor:
        """Run an encoder that cannot be cut; return what is left for the first stage to do."""
        stage, encoder = self._own_stages[0], look.model.encoder
        if not (look.is_encoded_first and stage.is_first):
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


_values: Callable[[Mapping[Any, object]], Iterable[object]] = methodcaller("values")

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _watch(parts: Sequence[nn.Module]) -> Callable[[], bool]:
    """Remember what modules consist of, names included; return what says if it is so still.

    Things are compared by identity. That is asked at every call, of hundreds of dictionaries, most
    of which are empty.
    """
    weights = (part._parameters.values() for part in parts)
    owners: list[object] = [*parts, *(w for some in weights for w in some if w is not None)]
    kinds, own = [*map(type, owners)], [*map(vars, owners)]
    forwards = [(kind, kind.forward) for kind in {type(part) for part in parts}]
    # These are among a module's own attributes, so they are the same as long as those are.
    inner = (
        vars(part)[name]
        for part in parts
        for name in ("_parameters", "_buffers", "_modules", *_HOOKS)
    )
    found: list[Mapping[Any, object]] = [*own, *inner]
    empty = [each for each in found if not each]
    filled = [each for each in found if each]
    sizes, names = [*map(len, filled)], [*chain.from_iterable(filled)]
    things = [*chain.from_iterable(map(_values, filled))]

    def is_unchanged() -> bool:
        return (
            not any(empty)
            and all(map(is_, map(type, owners), kinds))
            and all(map(is_, map(vars, owners), own))
            and all(kind.forward is forward for kind, forward in forwards)
            # All of them at once: most of the time would go into one loop for each.
            and [*map(len, filled)] == sizes
            and [*chain.from_iterable(filled)] == names
            and all(map(is_, chain.from_iterable(map(_values, filled)), things))
        )

    return is_unchanged


def form_of(weight: Tensor) -> tuple[object, ...]:
    """Say where and in which form a weight is."""
    return weight.data_ptr(), weight.stride(), _form(weight)


_form: Callable[[Tensor], tuple[object, ...]]
_form = attrgetter("shape", "device", "dtype", "requires_grad")
