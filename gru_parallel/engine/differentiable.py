"""Makes the two halves of a pipelined step one operation of autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gru_parallel.engine.halves import FirstHalf, Halves


@dataclass
class Arrived:
    """The gradients of the outputs, on their way from one node of autograd to the other."""

    dy: Tensor | None = None
    dh_n: Tensor | None = None
    ready: torch.Event | None = None


def run(
    halves: Halves,
    x: Tensor,
    h_0: Tensor,
    lengths: Tensor | None,
    weights: Sequence[Tensor],
    *,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Run a stack so that autograd can differentiate it, by the pipeline's own B.

    Args:
        halves: of the stack.
        x: inputs, shape (batch, time, input_size).
        h_0: states that enter, shape (n_states, batch, hidden_size).
        lengths: time steps of each row, shape (batch,); None where all are whole.
        weights: of the stack, in the order of its stages.
        seed: of dropout.

    Returns:
        y: outputs, shape (batch, time, features).
        h_n: last states, shape (n_states, batch, hidden_size).

    Both are on the device of `x`. A second derivative is refused with a RuntimeError.
    """
    gradients = torch.is_grad_enabled() and any(t.requires_grad for t in (x, h_0, *weights))
    half = halves.forward(x, h_0, lengths, seed=seed, gradients=gradients, wants_dx=x.requires_grad)
    if not gradients:
        return half.y.to(x.device), half.h_n.to(x.device)
    arrived = Arrived()
    found: list[FirstHalf] = []

    def keep(_: Tensor) -> FirstHalf:
        return half

    def give_back(kept: FirstHalf) -> Tensor:
        found.append(kept)
        return torch.empty(0)

    # What F left is kept as autograd keeps any saved tensor: it goes when backward has been, or
    # stays with retain_graph=True, and a backward too many says what it always says.
    with torch.autograd.graph.saved_tensors_hooks(keep, give_back):
        token = _back(halves, arrived, found, x, h_0, *weights)
    y, h_n = _outputs(arrived, half.y, half.h_n, token)
    return y.to(x.device), h_n.to(x.device)


class _Back(torch.autograd.Function):
    """Its backward is the pipeline's B.

    It gives out a token on the CPU and not the outputs, so that autograd runs its backward in the
    thread that called `backward`. In a thread of autograd's own for a GPU it would wait for workers
    that wait for that very thread.
    """

    @staticmethod
    def forward(
        ctx: Any, halves: Halves, arrived: Arrived, found: list[FirstHalf], *inputs: Tensor
    ) -> Tensor:
        ctx.halves, ctx.arrived, ctx.found = halves, arrived, found
        ctx.devices = [tensor.device for tensor in inputs]
        ctx.save_for_backward(torch.empty(0))
        return torch.zeros(())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "gru_parallel.GRU has first derivatives only; call backward without"
                " create_graph=True, or use nn.GRU (GRU.to_torch()) for second ones."
            )
        # Raises where backward has been before, without retain_graph=True.
        _ = ctx.saved_tensors
        half: FirstHalf = ctx.found.pop()
        arrived: Arrived = ctx.arrived
        if arrived.ready is not None:
            arrived.ready.synchronize()
        gradients = ctx.halves.backward(half, arrived.dy, arrived.dh_n)
        arrived.dy = arrived.dh_n = arrived.ready = None
        # This thread has no stream of its own for autograd to wait for.
        for device in {g.device for g in gradients.weights if g is not None}:
            if device.type != "cpu":
                torch.accelerator.current_stream(device).synchronize()
        found: list[Tensor | None] = [gradients.x, gradients.h_0, *gradients.weights]
        placed = (None if g is None else g.to(d) for g, d in zip(found, ctx.devices, strict=True))
        return None, None, None, *placed


class _Outputs(torch.autograd.Function):
    """Gives the outputs out; its backward takes their gradients down for `_Back`."""

    @staticmethod
    def forward(
        ctx: Any, arrived: Arrived, y: Tensor, h_n: Tensor, token: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.arrived = arrived
        ctx.set_materialize_grads(False)
        return y.view_as(y), h_n.view_as(h_n)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        arrived: Arrived = ctx.arrived
        arrived.dy, arrived.dh_n = grad_outputs
        some = next((g for g in grad_outputs if g is not None), None)
        if some is not None and some.device.type != "cpu":
            arrived.ready = torch.accelerator.current_stream(some.device).record_event()
        return None, None, None, torch.zeros(())


# torch has no types for `apply`.
_back: Callable[..., Tensor] = _Back.apply
_outputs: Callable[..., tuple[Tensor, Tensor]] = _Outputs.apply
