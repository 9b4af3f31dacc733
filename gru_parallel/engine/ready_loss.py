"""Makes a loss whose gradients are computed already look like any other loss to autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gru_parallel.stage.cells import over_the_batch
from gru_parallel.stage.ends import HeadSection, targets_gradient
from gru_parallel.stage.stage_pass import StagePass

Pair = tuple[Tensor, Tensor | None]
"""A tensor and its gradient; None for that of the loss, of which it is a copy."""

_functorch: Any = torch._C._functorch
_BATCHED = _functorch.is_legacy_batchedtensor, _functorch.is_batchedtensor
"""Say whether a tensor is several: with is_grads_batched, and under vmap."""


class _Release(torch.autograd.Function):
    """Forward gives the loss through; backward gives out the gradients that the schedule left."""

    @staticmethod
    def forward(
        ctx: Any,
        loss: Tensor,
        gradients: Sequence[Tensor | None],
        read: Sequence[Tensor],
        scale: float,
        *sources: Tensor,
    ) -> Tensor:
        ctx.scale = scale
        ctx.devices = [source.device for source in sources]
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
        scale = grad_outputs[0] / ctx.scale
        gradients = ctx.saved_tensors[: ctx.n_gradients]
        # Most often they are, and become those of the parameters without being copied.
        found = gradients if _are_as_wanted(scale) else _times(gradients, scale)
        with_the_loss = (
            scale.to(device) if g is None else g
            for g, device in zip(found, ctx.devices, strict=True)
        )
        return None, None, None, None, *with_the_loss


def with_gradients(
    loss: Tensor,
    sources: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    read: Sequence[Tensor] = (),
    scale: float = 1.0,
) -> Tensor:
    """Return `loss` with a history: its `backward` hands each source its gradient, scaled.

    A pipeline runs F and B interleaved, so when the loss is known, so are the gradients. Handing
    them out only in `backward` keeps every training loop as it is: gradients may be zeroed in
    between, a loss may be scaled or divided, several may be accumulated, and hooks on parameters
    see what they always see.

    Args:
        loss: a scalar.
        sources: the tensors that the gradients belong to, with whatever history they have; one
            that occurs twice gets the sum.
        gradients: one for each source, of its shape and device; None where there is none.
        read: tensors that must not be changed in place before `backward`.
        scale: by which the gradients are too large.

    Returns:
        A scalar equal to `loss`. Its `backward` raises as that of any loss would: a second time
        without `retain_graph`, or where a tensor of `read` has been changed; and a second
        derivative is refused with a RuntimeError.
    """
    by_device: dict[torch.device, list[Pair]] = {loss.device: []}
    for source, gradient in zip(sources, gradients, strict=True):
        # Those without a gradient are left out: their hooks would be called with None.
        if gradient is not None:
            pair = source, gradient.to(source.dtype)
            by_device.setdefault(gradient.device, []).append(pair)
    of_loss = by_device.pop(loss.device)
    # Autograd has a thread and a stream for each device, and waits for those of the node that gives
    # a gradient out: so each device has a node of its own, whose gradient is the loss's.
    for device, pairs in by_device.items():
        copy = torch.zeros((), device=device, dtype=loss.dtype)
        of_device = _release(copy, [g for _, g in pairs], (), 1.0, *(s for s, _ in pairs))
        of_loss.append((of_device, None))
    return _release(loss, [g for _, g in of_loss], read, scale, *(s for s, _ in of_loss))


def gradients_of_inputs(
    passes: Sequence[StagePass], sources: Mapping[str, Tensor | None]
) -> list[Tensor | None]:
    """Put the gradients of what a step was called with together from those of the cells.

    Args:
        passes: of the stages of this process.
        sources: the tensors by their names in `Windows`: x, y and h_0.

    Returns:
        The gradient of each source that is not None, as far as these stages have it.
    """
    found: dict[str, Tensor] = {}
    if passes:
        spec, head, h_0, y = passes[0].spec, passes[-1].head, sources["h_0"], sources["y"]
        if spec.wants_dx and passes[0].dx:
            found["x"] = over_the_batch(passes[0].dx, spec.cells).transpose(0, 1)
        if spec.wants_dy and isinstance(head, HeadSection) and y is not None:
            found["y"] = targets_gradient(head, y, spec.cells)
        reads_h_0 = any(b.h_0 == "given" for each in passes for b in each.stage.modules.blocks)
        if h_0 is not None and h_0.requires_grad and reads_h_0:
            # Zeros for the states of stages elsewhere.
            found["h_0"] = torch.zeros_like(h_0)
            for each in passes:
                found["h_0"][each.stage.modules.state_slice] = each.dh_0()
    return [
        found[name].to(source.device) if name in found else None
        for name, source in sources.items()
        if source is not None
    ]


def _are_as_wanted(scale: Tensor) -> bool:
    """Whether gradients can be given away as they are, as far as can be seen without waiting."""
    bindings: Any = torch._C
    if bindings._autograd._get_current_graph_task_keep_graph():
        # Another backward will need them.
        return False
    is_batched = any(is_of_kind(scale) for is_of_kind in _BATCHED)
    return scale.device.type == "cpu" and not is_batched and scale.item() == 1.0


def _times(gradients: Sequence[Tensor | None], scale: Tensor) -> list[Tensor | None]:
    """Multiply gradients, which are on the device of `scale`; those of a type at once."""
    found = [*gradients]
    at_once: dict[torch.dtype, list[tuple[int, Tensor]]] = {}
    is_batched = any(is_of_kind(scale) for is_of_kind in _BATCHED)
    for index, gradient in enumerate(gradients):
        if gradient is None:
            continue
        # The scale of a loss may be too large for a half-precision number.
        wide = torch.promote_types(gradient.dtype, scale.dtype)
        if wide == gradient.dtype and not is_batched:
            at_once.setdefault(wide, []).append((index, gradient))
        else:
            found[index] = (gradient.to(wide) * scale.to(wide)).to(gradient.dtype)
    for dtype, numbered in at_once.items():
        products = torch._foreach_mul([gradient for _, gradient in numbered], scale.to(dtype))
        for (index, _), product in zip(numbered, products, strict=True):
            found[index] = product
    return found


# torch has no types for `apply`.
_release: Callable[..., Tensor] = _Release.apply
