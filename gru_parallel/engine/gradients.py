"""Makes a loss whose gradients are computed already look like any other loss to autograd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


class _Release(torch.autograd.Function):
    """Forward gives the loss through; backward gives out the gradients that the schedule left."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor | None], *leaves: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            # Without this, whatever is built on these gradients would silently train nothing.
            raise RuntimeError(
                "A pipeline's loss has first derivatives only; call backward without"
                " create_graph=True."
            )
        (scale,) = grad_outputs
        gradients: list[Tensor | None] = ctx.gradients  # type: ignore[attr-defined]  # forward's
        scaled = (None if g is None else g * scale.to(g.device, g.dtype) for g in gradients)
        return None, None, *scaled


def with_gradients(
    loss: Tensor, leaves: Sequence[Tensor], gradients: Sequence[Tensor | None]
) -> Tensor:
    """Return `loss` with a history: its `backward` hands each leaf its gradient, scaled.

    A pipeline runs F and B interleaved, so when the loss is known, so are the gradients. Handing
    them out only in `backward` keeps every training loop as it is: gradients may be zeroed in
    between, a loss may be scaled or divided, several may be accumulated, and hooks on parameters
    see what they always see.

    Args:
        loss: a scalar.
        leaves: the tensors that the gradients belong to.
        gradients: one for each leaf, of its shape and device; None where there is none.

    Returns:
        A scalar equal to `loss`. A second derivative is refused with a RuntimeError.
    """
    result: Tensor = _Release.apply(loss, list(gradients), *leaves)  # type: ignore[no-untyped-call]
    return result
