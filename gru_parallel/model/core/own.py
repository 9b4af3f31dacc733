"""The cores of this library: fused keeps the gates for B, lean works them out again from x and y.

Both have one protocol: F gives y and what B needs beside x, h_0 and y; B gives the gradients of x
and h_0 and leaves what W needs; W gives the gradients of the weights, at any time after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gru_parallel.model.core.equations import (
    Gates,
    Weights,
    add_gradients_of_weights,
    gradient_of_inputs,
    pieces,
    room_for_factors,
    room_for_gates,
    run,
    run_again,
    run_back,
)
from gru_parallel.own_names import is_own, own


@dataclass(frozen=True, slots=True)
class Pending:
    """What B of one layer over some steps leaves for W.

    Attributes:
        x: inputs, shape (time, batch, input_size).
        before: the state before each step, shape (time, batch, hidden_size).
        gradients: of r, z, s and n side by side, shape (time, batch, 4 * hidden_size).
    """

    x: Tensor
    before: Tensor
    gradients: Tensor


class Core(Protocol):
    """How a layer computes a chunk."""

    def forward(
        self, x: Tensor, h_0: Tensor, weights: Weights, *, keep: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run F.

        Args:
            x: inputs, shape (time, batch, input_size), contiguous.
            h_0: the state that enters, shape (batch, hidden_size), contiguous.
            weights: of the layer.
            keep: whether B is to come.

        Returns:
            y: outputs, shape (time, batch, hidden_size).
            saved: what B needs of it beside x, h_0 and y.
        """
        ...

    def gates(
        self, saved: Sequence[Tensor], steps: slice, x: Tensor, before: Tensor, weights: Weights
    ) -> Gates:
        """Return the gates of some steps, for B.

        Args:
            saved: by F.
            steps: which.
            x: inputs of these steps, shape (time, batch, input_size).
            before: the state before each of these steps, shape (time, batch, hidden_size).
            weights: of the layer.
        """
        ...


class Lean:
    """Keeps nothing beside x, h_0 and y; B works the gates out again, all steps at once."""

    def forward(
        self, x: Tensor, h_0: Tensor, weights: Weights, *, keep: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run F; see `Core`."""
        del keep
        if x.is_cuda:
            # In inference cuDNN has no reserve space for B.
            given = [weight for weight in weights if weight is not None]
            return torchs_outputs(x, h_0.unsqueeze(0), given), ()
        size = pieces(len(x), *h_0.shape)[0].stop
        return _outputs(x, h_0, weights, room_for_gates(x, size, h_0.shape[1])), ()

    def gates(
        self, saved: Sequence[Tensor], steps: slice, x: Tensor, before: Tensor, weights: Weights
    ) -> Gates:
        """Work the gates out again; see `Core`."""
        del saved, steps
        room = room_for_gates(x, len(before), before.shape[-1])
        run_again(x, before, *weights, *room)
        return room


class Fused(Lean):
    """Keeps the gates."""

    def forward(
        self, x: Tensor, h_0: Tensor, weights: Weights, *, keep: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run F; see `Core`."""
        if not keep:
            return super().forward(x, h_0, weights, keep=False)
        gates = room_for_gates(x, len(x), h_0.shape[1])
        return _outputs(x, h_0, weights, gates), gates

    def gates(
        self, saved: Sequence[Tensor], steps: slice, x: Tensor, before: Tensor, weights: Weights
    ) -> Gates:
        """Take the gates that F has kept; see `Core`."""
        del x, before, weights
        rzs, n = saved
        return Gates(rzs[steps], n[steps])


def _outputs(x: Tensor, h: Tensor, weights: Weights, room: Gates) -> Tensor:
    """Run F piece by piece; the gates go into their place, or all pieces' into room for one."""
    y = x.new_empty(len(x), *h.shape)
    for steps in pieces(*y.shape):
        here = steps if len(room.n) == len(x) else slice(steps.stop - steps.start)
        run(x[steps], h, *weights, room.rzs[here], room.n[here], y[steps])
        h = y[steps.stop - 1]
    return y


def torchs_outputs(x: Tensor, h_0: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Run F of one layer by torch's operator; h_0 has the shape (1, batch, hidden_size)."""
    options = (len(weights) == 4, 1, 0.0, False, False, False)
    y, _ = torch._VF.gru(x, h_0, list(weights), *options)
    return y


OWN_CORES: dict[str, Core] = {"fused": Fused(), "lean": Lean()}
"""The cores of this library by name."""


def find_core(name: str) -> Core | None:
    """Return a core of this library, or of the caller's own by its full name; None for native."""
    core = OWN_CORES.get(name)
    if core is None and is_own(name):
        found: Core = own("model.core", name)
        return found
    return core


def backward(
    core: Core,
    dy: Tensor | None,
    dh_n: Tensor | None,
    x: Tensor,
    h_0: Tensor,
    y: Tensor,
    saved: Sequence[Tensor],
    weights: Weights,
    *,
    leave: Callable[[Pending], None] | None,
    wants_dx: bool,
    wants_dh_0: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Run B of one layer over one chunk.

    Args:
        core: that ran F.
        dy: gradient of the outputs, shape (time, batch, hidden_size); None for none.
        dh_n: gradient of the last state, shape (batch, hidden_size); None for none.
        x: the inputs of F.
        h_0: the state that entered.
        y: the outputs of F.
        saved: by F.
        weights: of the layer.
        leave: takes what W needs, piece by piece, the last first; None where W is not wanted.
        wants_dx: whether the gradient of x is wanted.
        wants_dh_0: whether that of h_0 is.

    Returns:
        dx: gradient of the inputs, shape (time, batch, input_size); None where it is not wanted.
        dh_0: gradient of the state that entered, shape (batch, hidden_size); None likewise.
    """
    n_steps, batch_size, hidden_size = y.shape
    last = None if dy is None else dy[-1]
    if last is None or dh_n is None:
        some = last if dh_n is None else dh_n
        dh = torch.zeros_like(h_0) if some is None else some.clone()
    else:
        dh = last + dh_n
    dx = torch.empty_like(x) if wants_dx else None
    for steps in reversed(pieces(n_steps, batch_size, hidden_size)):
        if steps.start == 0:
            before = torch.cat([h_0.unsqueeze(0), y[: steps.stop - 1]])
        else:
            before = y[steps.start - 1 : steps.stop - 1]
        x_here = x[steps]
        gates = core.gates(saved, steps, x_here, before, weights)
        factors = room_for_factors(x_here, hidden_size)
        dh = run_back(factors, steps.start, *gates, before, dy, dh, weights.hh, wants_dh_0)
        if dx is not None:
            gradient_of_inputs(factors, weights.ih, dx[steps])
        if leave is not None:
            leave(Pending(x_here, before, factors))
    return dx, dh if wants_dh_0 else None


@torch.no_grad()
def add_weight_gradients(pending: Pending, totals: Sequence[Tensor | None]) -> None:
    """Run W of one layer over some steps: add the gradients of its weights to sums, in place.

    Args:
        pending: what B has left.
        totals: for each weight, in the order of `nn.GRU`, the sum over all steps, of its type; None
            for a weight whose gradient is not wanted.
    """
    ih, hh, *biases = totals
    b_ih, b_hh = biases or (None, None)
    add_gradients_of_weights(pending.gradients, pending.x, pending.before, ih, hh, b_ih, b_hh)
