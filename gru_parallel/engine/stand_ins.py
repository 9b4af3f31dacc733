"""StandIns: modules that compute as the caller's do, with weights that are the engine's own."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NoReturn, Self, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from gru_parallel.errors import UsageError
from gru_parallel.model import Block, has_forward_of
from gru_parallel.model.autocast import computing_type, flatten
from gru_parallel.model.flat_weights import flatten_all
from gru_parallel.model.private import make_private
from gru_parallel.stage.stage import Stage, StageModules

DeviceOf = Callable[[nn.Module], torch.device]
M = TypeVar("M", bound=nn.Module)


class StandIns:
    """What the stages compute with.

    Weights are read from the caller's modules once, as they are at that moment: parameters, what a
    parametrization computes, what a hook before `forward` sets. A stand-in is a copy of a module
    that shares everything with it except the weights; in their place it has leaves that share their
    memory. B differentiates by the leaves. The gradient of a leaf is then given, once, to the
    weight that it stands for, and the caller's autograd passes it on to whatever the weight was
    computed from. So a pipeline has no special case for hooks of parameters, shared weights and
    parametrizations.

    Where autocast asks for another type, the leaves of recurrent weights are copies in that type,
    so that these are cast once per call and not once per cell.

    Args:
        asked: what autocast asks for on each kind of device; None where it is off.

    Attributes:
        are_lasting: whether another call can compute with the same ones, if the modules stay as
            they are: no weight is computed at each call, or is a copy on another device.
        copies: leaves in another type, each with its weight; to be renewed at each call.
    """

    def __init__(self, asked: Mapping[str, torch.dtype | None]) -> None:
        self.are_lasting = True
        self._asked = asked
        self._weights: dict[Tensor, Tensor] = {}
        self.copies: list[tuple[Tensor, Tensor]] = []

    def of_stage(self, stage: Stage, modules: StageModules) -> StageModules:
        """Make stand-ins for the modules of a stage, on its devices.

        Args:
            stage: whose devices they are to be on.
            modules: of the caller, on any devices.

        Raises:
            UsageError: a module cannot be stood in for.
        """
        device = stage.lane.device

        def block(module: Block) -> Block:
            of_reverse = set() if stage.second_device is None else set(module.reverse_parts)
            other = device if stage.second_device is None else stage.second_device.lane.device
            # A module that occurs twice in a stack, or in a block, gets two, with a gradient each.
            return self._make(module, lambda part: other if part in of_reverse else device, None)

        shared: dict[nn.Module, nn.Module] = {}
        encoder, head = modules.encoder, modules.head
        return replace(
            modules,
            encoder=None if encoder is None else self._make(encoder, lambda _: device, shared),
            blocks=tuple(block(each) for each in modules.blocks),
            head=None if head is None else self._make(head, lambda _: device, shared),
        )

    def weights(self, leaves: Iterable[Tensor]) -> list[Tensor]:
        """Return the weights that leaves stand for."""
        # A tensor that is not a leaf, such as a state set by a hook, stands for itself.
        return [self._weights.get(leaf, leaf) for leaf in leaves]

    def flatten(self, grus: Iterable[nn.GRU]) -> None:
        """Put the weights of each recurrent call into one piece of memory, where it matters."""
        flatten_all(grus, self._weights)

    def _make(self, module: M, device_of: DeviceOf, shared: dict[nn.Module, nn.Module] | None) -> M:
        if shared is not None and module in shared:
            return cast(M, shared[module])
        if "forward" in module.__dict__ or isinstance(module, torch.jit.ScriptModule):
            raise UsageError(
                f"The forward of a {type(module).__name__} was replaced, or compiled to a script,"
                " and reads its own weights, not those of a pipeline; write a class with that"
                " forward instead."
            )
        _run_hooks_before(module)
        kind: type[M] = type_before_parametrizations(module)
        stand_in = kind.__new__(kind)
        if shared is not None:
            shared[module] = stand_in
        weights = _weights_of(module)
        are_parameters = all(isinstance(weight, nn.Parameter) for weight in weights.values())
        # Nothing tells when another tensor changes, and its leaf may be in other memory.
        has_hooks = module._forward_pre_hooks or module._forward_hooks
        self.are_lasting = self.are_lasting and are_parameters and not has_hooks
        device = device_of(module)
        # A forward of the caller's own may expect its weights in their own type.
        is_cast = shared is None and isinstance(module, nn.GRU) and has_forward_of(module, nn.GRU)
        leaves = {
            name: self._leaf(weight, device, is_cast=is_cast) for name, weight in weights.items()
        }
        stand_in.__dict__.update(
            {name: value for name, value in module.__dict__.items() if name not in weights},
            _parameters={**dict.fromkeys(module._parameters), **leaves},
            _modules={
                name: child and self._make(child, device_of, shared)
                for name, child in module._modules.items()
                if not (name == "parametrizations" and is_parametrized(module))
            },
            # They have been run.
            _forward_pre_hooks=OrderedDict(),
            _compiled_call_impl=None,
        )
        if not module._forward_hooks and _has_any_global_hook():
            # Hooks for the calls of all modules there are would see the pieces, too.
            make_private(stand_in)
        if isinstance(stand_in, nn.RNNBase):
            for name in set(stand_in._flat_weights_names) & set(module.__dict__):
                # A forward that makes its weight itself can set it anew.
                stand_in.__dict__[name] = stand_in._parameters.pop(name)
            flat = [leaves[name] for name in stand_in._flat_weights_names]
            # References too, or else it would think them new, and ask again at every cell.
            stand_in.__dict__.update(
                _flat_weights=flat, _flat_weight_refs=[*map(weakref.ref, flat)]
            )
            if not are_parameters or flat[0].dtype != self._weights[flat[0]].dtype:
                # Made anew, they are not yet in one piece of memory.
                flatten(stand_in, flat)
        return stand_in

    def _leaf(self, weight: Tensor, device: torch.device, *, is_cast: bool) -> Tensor:
        # It was moved, or stages share it.
        self.are_lasting = self.are_lasting and weight.device == device
        # The first call may be a prediction in inference mode, and the next a training step.
        with torch.inference_mode(mode=False):
            weight = weight.to(device)
            asked = self._asked.get(device.type) if is_cast else None
            leaf = weight.detach().to(computing_type(weight.dtype, asked))
        if isinstance(weight, nn.Parameter):
            leaf = nn.Parameter(leaf, weight.requires_grad)
            leaf.__dict__.update(weight.__dict__)
        leaf.requires_grad_(weight.requires_grad)
        self._weights[leaf] = weight
        if leaf.dtype != weight.dtype:
            self.copies.append((leaf, weight))
        return leaf


def _weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Ask a module for its weights, each once."""
    flat: dict[str, Tensor] = {}
    if isinstance(module, nn.RNNBase):
        # As at the start of its own forward, so that a parametrization is asked as often.
        module._update_flat_weights()
        weights = cast(list[Tensor], module._flat_weights)
        flat = dict(zip(module._flat_weights_names, weights, strict=True))
    computed = list(getattr(module, "parametrizations", {})) if is_parametrized(module) else []
    found: dict[str, Tensor] = {
        name: weight for name, weight in module._parameters.items() if weight is not None
    }
    found |= {name: getattr(module, name) for name in computed if name not in flat}
    if module._forward_pre_hooks:
        # What a hook before forward sets in the place of a parameter.
        found |= {
            name: value
            for name, value in module.__dict__.items()
            if isinstance(value, Tensor) and value.requires_grad
        }
    return found | flat


def _run_hooks_before(module: nn.Module) -> None:
    """Run the hooks that come before `forward`, as far as they make weights.

    Raises:
        UsageError: one changes the inputs, or wants to see them.
    """
    for key, hook in module._forward_pre_hooks.items():
        refusal = UsageError(
            f"The hook {getattr(hook, '__name__', type(hook).__name__)} before the forward of a"
            f" {type(module).__name__} reads or changes its inputs, which come in pieces; in a"
            " pipeline such hooks run once a step and without inputs, to make weights. Remove it,"
            " or put what it does into a module."
        )
        arguments: list[object] = [_NoInputs(refusal)]
        if key in module._forward_pre_hooks_with_kwargs:
            arguments.append({})
        if hook(module, *arguments) is not None:
            raise refusal


class _NoInputs(tuple[()]):
    """Stands for the inputs of a module, and refuses to be looked at."""

    refusal: UsageError

    def __new__(cls, refusal: UsageError) -> Self:
        """Make one, with what it says."""
        stand_in = super().__new__(cls)
        stand_in.refusal = refusal
        return stand_in

    def _refuse(self, *_: object) -> NoReturn:
        raise self.refusal

    __bool__ = __contains__ = __getitem__ = __iter__ = __len__ = _refuse
