"""Makes the two halves of a pipelined step one operation of autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gru_parallel.dropin.borrowed_stack import BorrowedStack
from gru_parallel.engine.passes import Passes
from gru_parallel.model import Windows

CPU = torch.device("cpu")


@dataclass
class Arrived:
    """The gradients of the outputs, on their way from one node of autograd to the other."""

    dy: Tensor | None = None
    dh_n: Tensor | None = None
    ready: torch.Event | None = None

    def take(self) -> tuple[Tensor | None, Tensor | None]:
        """Give them up, to what is queued on the current stream from now on."""
        some = next((g for g in (self.dy, self.dh_n) if g is not None), None)
        if self.ready is not None and some is not None:
            torch.accelerator.current_stream(some.device).wait_event(self.ready)
        taken = self.dy, self.dh_n
        self.dy = self.dh_n = self.ready = None
        return taken


def run(
    stack: BorrowedStack,
    windows: Windows,
    weights: Sequence[Tensor],
    *,
    training: bool,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Run a stack so that autograd can differentiate it, by the pipeline's own B.

    Args:
        stack: what runs.
        windows: inputs x of shape (batch, time, input_size), lengths and h_0.
        weights: of the stack, in the order of `nn.GRU`.
        training: whether there is dropout.
        seed: of dropout.

    Returns:
        y: outputs, shape (time, batch, features).
        h_n: last states, shape (n_states, batch, hidden_size).

    Both are on the device of `x`. A second derivative is refused with a RuntimeError.
    """
    x, h_0 = windows.x, windows.h_0
    assert h_0 is not None
    inputs = (x, h_0, *weights)
    gradients = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    passes, y, h_n = stack.forward(
        windows, weights, training=training, seed=seed, gradients=gradients
    )
    if gradients:
        arrived = Arrived()
        token = _token(stack, passes, arrived, inputs)
        y, h_n = _outputs(arrived, (y, h_n), token)
    return y.to(x.device), h_n.to(x.device)


def _token(
    stack: BorrowedStack, passes: Passes, arrived: Arrived, inputs: Sequence[Tensor]
) -> Tensor:
    """Make the node of autograd that runs B, of which the token is the only output."""
    found: list[Passes] = []

    def keep(_: Tensor) -> Passes:
        return passes

    def give_back(kept: Passes) -> Tensor:
        found[:] = [kept]
        return torch.empty(0)

    # What F left is kept as autograd keeps any saved tensor: it goes when backward has been, or
    # stays with retain_graph=True, and a backward too many says what it always says.
    with torch.autograd.graph.saved_tensors_hooks(keep, give_back):
        return _back(stack, arrived, found, *inputs)


class _Back(torch.autograd.Function):
    """Its backward is the pipeline's B.

    It gives out a token on the CPU and not the outputs, so that autograd runs its backward in the
    thread that called `backward`, and not in one of the few threads that it has for GPUs.
    """

    @staticmethod
    def forward(
        ctx: Any, stack: BorrowedStack, arrived: Arrived, found: list[Passes], *inputs: Tensor
    ) -> Tensor:
        ctx.stack, ctx.arrived, ctx.found = stack, arrived, found
        ctx.forms = [(tensor.device, tensor.dtype) for tensor in inputs]
        ctx.save_for_backward(torch.empty(0))
        return torch.zeros((), device=CPU)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        dy, dh_n = ctx.arrived.take()
        if torch.is_grad_enabled():
            raise RuntimeError(
                "gru_parallel.GRU has first derivatives only; call backward without"
                " create_graph=True, or use nn.GRU (GRU.to_torch()) for second ones."
            )
        # Raises where backward has been before, without retain_graph=True.
        _ = ctx.saved_tensors
        found: list[Tensor | None] = ctx.stack.backward(ctx.found.pop(), dy, dh_n)
        placed = [None if g is None else g.to(*f) for g, f in zip(found, ctx.forms, strict=True)]
        # This node is on no stream, so autograd would not wait for what is still queued; and what
        # was queued reads tensors that end here.
        _wait_for([dy, dh_n, *found, *placed])
        return None, None, None, *placed


class _Outputs(torch.autograd.Function):
    """Gives out the outputs; its backward keeps their gradients for `_Back`."""

    @staticmethod
    def forward(
        ctx: Any, arrived: Arrived, outputs: tuple[Tensor, Tensor], token: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.arrived = arrived
        ctx.set_materialize_grads(False)
        # In a tuple they are no inputs, and so no views, which could not be changed in place.
        return outputs

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        arrived: Arrived = ctx.arrived
        arrived.dy, arrived.dh_n = grad_outputs
        some = next((g for g in grad_outputs if g is not None), None)
        if some is not None and some.device.type != "cpu":
            arrived.ready = torch.accelerator.current_stream(some.device).record_event()
        return None, None, torch.zeros((), device=CPU)


def _wait_for(tensors: Iterable[Tensor | None]) -> None:
    """Wait for what this thread has queued on the tensors' devices."""
    devices = {tensor.device for tensor in tensors if tensor is not None}
    if any(d.type == "cuda" for d in devices) and torch.cuda.is_current_stream_capturing():
        # Nothing runs, and the stream that the caller records is what puts all in order.
        return
    for device in devices:
        if device.type != "cpu":
            torch.accelerator.current_stream(device).synchronize()


# torch has no types for `apply`.
_back: Callable[..., Tensor] = _Back.apply
_outputs: Callable[..., tuple[Tensor, Tensor]] = _Outputs.apply
