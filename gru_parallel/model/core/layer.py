"""One layer over one chunk as an operation of autograd, with a core of this library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from gru_parallel.model.core.equations import Weights
from gru_parallel.model.core.own import (
    Core,
    Pending,
    add_weight_gradients,
    backward,
    torchs_outputs,
)

Leave = Callable[[Sequence[Tensor], Pending], None]
"""Takes the weights of a layer, which are leaves, and what B has left for W of them."""


def run_layer(
    core: Core, x: Tensor, h_0: Tensor, weights: Sequence[Tensor], leave: Leave | None = None
) -> tuple[Tensor, Tensor]:
    """Run F of one layer over one chunk; autograd can differentiate it.

    Args:
        core: how.
        x: inputs, shape (time, batch, input_size), contiguous.
        h_0: the state that enters, shape (1, batch, hidden_size).
        weights: of the layer, in the order of `nn.GRU`: w_ih, w_hh and, with biases, b_ih, b_hh.
        leave: takes what B leaves for W; autograd then finds no gradient for the weights. None has
            W run within B.

    Returns:
        y: outputs, shape (time, batch, hidden_size).
        h_n: the last state, shape (1, batch, hidden_size).
    """
    if not torch.is_grad_enabled():
        y, _ = core.forward(x, h_0[0].clone(), Weights(*weights), keep=False)
        return y, y[-1:].clone()
    # Weights with a history need their gradients from autograd.
    has_leaves = all(weight.is_leaf for weight in weights)
    left_to = partial(leave, weights) if leave is not None and has_leaves else None
    return _layer(core, left_to, x, h_0, *weights)


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        core: Core,
        leave: Callable[[Pending], None] | None,
        x: Tensor,
        h_0: Tensor,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        # Copied, so that results do not depend on where in memory a state begins.
        y, saved = core.forward(x, h_0[0].clone(), Weights(*weights), keep=True)
        ctx.core, ctx.leave, ctx.n_weights = core, leave, len(weights)
        # A parameter can be given other memory before B; its alias stays with what F has read.
        aliases = [weight.detach() for weight in weights]
        ctx.save_for_backward(x, h_0, y, *weights, *aliases, *saved)
        ctx.set_materialize_grads(False)
        return y, y[-1:].clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        dy, dh_n = grad_outputs
        x, h_0, y, *others = ctx.saved_tensors
        n = ctx.n_weights
        weights, aliases, saved = others[:n], others[n : 2 * n], others[2 * n :]
        _, _, wants_dx, wants_dh_0, *wanted = ctx.needs_input_grad
        if torch.is_grad_enabled() or any(map(_is_batched, grad_outputs)):
            found = _differentiable(grad_outputs, x, h_0, weights, ctx.needs_input_grad[2:])
            return None, None, *found
        h_0, of_layer = h_0[0].clone(), Weights(*aliases)
        dh_n = None if dh_n is None else dh_n[0]
        totals = [
            torch.zeros_like(weight) if is_wanted and ctx.leave is None else None
            for weight, is_wanted in zip(weights, wanted, strict=True)
        ]

        def leave(pending: Pending) -> None:
            if ctx.leave is None:
                add_weight_gradients(pending, totals)
            else:
                ctx.leave(pending)

        # As torch's operators do, whatever F did under autocast.
        with torch.autocast(x.device.type, enabled=False):
            dx, dh_0 = backward(
                ctx.core,
                dy,
                dh_n,
                x,
                h_0,
                y,
                saved,
                of_layer,
                leave=leave if any(wanted) else None,
                wants_dx=wants_dx,
                wants_dh_0=wants_dh_0,
            )
        return None, None, dx, None if dh_0 is None else dh_0.unsqueeze(0), *totals


def _is_batched(tensor: Tensor | None) -> bool:
    """Whether a tensor stands for many: `torch.autograd.grad(is_grads_batched=True)`."""
    functorch = torch._C._functorch
    kinds = functorch.is_batchedtensor, functorch.is_legacy_batchedtensor
    return tensor is not None and any(is_of_kind(tensor) for is_of_kind in kinds)


def _differentiable(
    grad_outputs: Sequence[Tensor | None],
    x: Tensor,
    h_0: Tensor,
    weights: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Run B by torch's operators: its own gradients are wanted, or those of many losses at once."""
    is_recorded = torch.is_grad_enabled()
    with torch.enable_grad():
        # Through views alone: behind x and h_0, too, lie what is wanted and what autograd visits.
        x, h_0, *weights = (tensor.view_as(tensor) for tensor in (x, h_0, *weights))
        y = torchs_outputs(x, h_0, weights)
    dy, dh_n = grad_outputs
    if dh_n is not None:
        # The last state is the last output.
        of_last = torch.cat([torch.zeros_like(y[1:]), dh_n])
        dy = of_last if dy is None else dy + of_last
    inputs = [t for t, is_wanted in zip((x, h_0, *weights), wanted, strict=True) if is_wanted]
    found = iter(torch.autograd.grad(y, inputs, dy, create_graph=is_recorded))
    return [next(found) if is_wanted else None for is_wanted in wanted]


# torch has no types for `apply`.
_layer = cast("Callable[..., tuple[Tensor, Tensor]]", _Layer.apply)
