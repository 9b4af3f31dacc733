"""Makes a loss whose gradients are computed already look like any other loss to autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class _Release(torch.autograd.Function):
    """Forward gives the loss through; backward gives out the gradients that the schedule left."""

    @staticmethod
    def forward(
        ctx: Any,
        loss: Tensor,
        gradients: Sequence[Tensor],
        read: Sequence[Tensor],
        *sources: Tensor,
    ) -> Tensor:
        ctx.n_gradients = len(gradients)
        # Kept as autograd keeps any saved tensor: it lets go of them after a backward, says so at
        # a second one, and notices if what was read has been changed in place since.
        ctx.save_for_backward(*gradients, *read)
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            # Without this, whatever is built on these gradients would silently train nothing.
            raise RuntimeError(
                "A pipeline's loss has first derivatives only; call backward without"
                " create_graph=True."
            )
        (scale,) = grad_outputs
        gradients = ctx.saved_tensors[: ctx.n_gradients]
        return None, None, None, *(_times(gradient, scale) for gradient in gradients)


def with_gradients(
    loss: Tensor,
    sources: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    read: Sequence[Tensor] = (),
) -> Tensor:
    """Return `loss` with a history: its `backward` hands each source its gradient, scaled.

    A pipeline runs F and B interleaved, so when the loss is known, so are the gradients. Handing
    them out only in `backward` keeps every training loop as it is: gradients may be zeroed in
    between, a loss may be scaled or divided, several may be accumulated, and hooks on parameters
    see what they always see.

    Args:
        loss: a scalar.
        sources: the tensors that the gradients belong to, with whatever history they have; one
            that stands there twice gets the sum.
        gradients: one for each source, of its shape and device; None where there is none.
        read: tensors that must not be changed in place before `backward`.

    Returns:
        A scalar equal to `loss`. Its `backward` raises as that of any loss would: a second time
        without `retain_graph`, or where a tensor of `read` has been changed; and a second
        derivative is refused with a RuntimeError.
    """
    # One without a gradient is no source: its hooks would be called with nothing.
    pairs = [(s, g) for s, g in zip(sources, gradients, strict=True) if g is not None]
    return _release(loss, [g for _, g in pairs], read, *(s for s, _ in pairs))


def _times(gradient: Tensor, scale: Tensor) -> Tensor:
    # The scale of a loss may be too large for a half-precision number.
    wide = torch.promote_types(gradient.dtype, scale.dtype)
    return (gradient.to(wide) * scale.to(gradient.device, wide)).to(gradient.dtype)


# torch has no types for `apply`.
_release: Callable[..., Tensor] = _Release.apply
