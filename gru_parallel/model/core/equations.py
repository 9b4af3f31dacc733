"""The equations of a GRU layer over the steps of a chunk, forward and backward, without autograd.

What does not depend on the step before is done for all steps at once; what does is a loop of a few
operators in place, with no allocation. With r, z and n the gates, s = W_hn h + b_hn the state's
share of n, and h the state before a step:

    r, z = sigmoid(W_i x + b_i + W_h h + b_h),  n = tanh(W_in x + b_in + r s),  y = n + z (h - n)

Everything that reaches the weights is dL/dy times a factor that is known before the loop of B:

    n: (1 - z)(1 - n^2)    s: that of n, times r    r: that of n, times s r (1 - r)
    z: (h - n) z (1 - z)

Source: Appleyard, Kocisky and Blunsom, Optimizing Performance of Recurrent Neural Networks on GPUs,
2016, for the products of all steps at once; the factors follow from the chain rule.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NUMBERS_OF_A_PIECE = 2**18
"""Steps are worked on in pieces of about so many numbers of factors: a piece stays in the cache."""

PADDING = 16
"""Numbers between the rows of factors: rows a power of two apart would share few cache lines."""

_aten = torch.ops.aten
_tanh_backward = _aten.tanh_backward.grad_input
_sigmoid_backward = _aten.sigmoid_backward.grad_input


class Weights(NamedTuple):
    """Of one layer, each with the rows of r, z and n in this order, as in `nn.GRU`.

    Attributes:
        ih: of the inputs, shape (3 * hidden_size, input_size).
        hh: of the state, shape (3 * hidden_size, hidden_size).
        b_ih: shape (3 * hidden_size,), or None.
        b_hh: shape (3 * hidden_size,), or None.
    """

    ih: Tensor
    hh: Tensor
    b_ih: Tensor | None = None
    b_hh: Tensor | None = None


class Gates(NamedTuple):
    """What a layer computes on its way from x to y.

    Attributes:
        rzs: r, z and s side by side, shape (time, batch, 3 * hidden_size).
        n: shape (time, batch, hidden_size).
    """

    rzs: Tensor
    n: Tensor

    @classmethod
    def room(cls, x: Tensor, n_steps: int, hidden_size: int) -> Gates:
        """Make room for those of so many steps of inputs like `x`."""
        rzs = x.new_empty(n_steps, x.shape[1], 3 * hidden_size)
        return cls(rzs, x.new_empty(n_steps, x.shape[1], hidden_size))

    def of(self, steps: slice) -> Gates:
        """Those of some steps."""
        return Gates(self.rzs[steps], self.n[steps])

    def split(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Views of r, z, s and n, each of shape (time, batch, hidden_size)."""
        r, z, s = self.rzs.chunk(3, dim=-1)
        return r, z, s, self.n


def pieces(n_steps: int, batch_size: int, hidden_size: int) -> list[slice]:
    """Cut the steps of a chunk into pieces that stay in the cache."""
    of_a_step = max(1, 4 * batch_size * hidden_size)
    size = max(1, NUMBERS_OF_A_PIECE // of_a_step)
    return [slice(start, min(start + size, n_steps)) for start in range(0, n_steps, size)]


def run(x: Tensor, h: Tensor, weights: Weights, gates: Gates, y: Tensor) -> None:
    """Compute the gates and the outputs of some steps.

    Args:
        x: inputs, shape (time, batch, input_size), contiguous.
        h: the state that enters, shape (batch, hidden_size).
        weights: of the layer.
        gates: where the gates go.
        y: where the outputs go, shape (time, batch, hidden_size).
    """
    _inputs_share(x, weights, gates)
    r, z, s, n = gates.split()
    rz = gates.rzs[..., : 2 * n.shape[-1]]
    w = weights.hh.t()
    addmm, lerp = torch.addmm, torch.lerp
    steps = (gates.rzs, rz, r, z, s, n, y)
    for rzs_t, rz_t, r_t, z_t, s_t, n_t, y_t in zip(*map(torch.unbind, steps), strict=True):
        addmm(rzs_t, h, w, out=rzs_t)
        rz_t.sigmoid_()
        n_t.addcmul_(r_t, s_t).tanh_()
        h = lerp(n_t, h, z_t, out=y_t)


def gates_again(x: Tensor, before: Tensor, weights: Weights, gates: Gates) -> None:
    """Compute the gates of some steps again, all steps at once.

    Args:
        x: inputs, shape (time, batch, input_size), contiguous.
        before: the state before each step, shape (time, batch, hidden_size), contiguous.
        weights: of the layer.
        gates: where the gates go.
    """
    _inputs_share(x, weights, gates)
    r, _, s, n = gates.split()
    rzs = gates.rzs.flatten(0, 1)
    torch.addmm(rzs, before.flatten(0, 1), weights.hh.t(), out=rzs)
    gates.rzs[..., : 2 * n.shape[-1]].sigmoid_()
    n.addcmul_(r, s).tanh_()


def _inputs_share(x: Tensor, weights: Weights, gates: Gates) -> None:
    """Write what does not depend on the state: the products of all steps, and the biases."""
    sizes = [2 * gates.n.shape[-1], gates.n.shape[-1]]
    rows, n = x.flatten(0, 1), gates.n.flatten(0, 1)
    rz, s = gates.rzs.flatten(0, 1).split(sizes, 1)
    w_rz, w_n = weights.ih.t().split(sizes, 1)
    if weights.b_ih is None or weights.b_hh is None:
        torch.mm(rows, w_rz, out=rz)
        torch.mm(rows, w_n, out=n)
        s.zero_()
    else:
        (b_rz, b_n), (of_state, b_s) = weights.b_ih.split(sizes), weights.b_hh.split(sizes)
        torch.addmm(b_rz + of_state, rows, w_rz, out=rz)
        torch.addmm(b_n, rows, w_n, out=n)
        s.copy_(b_s)


class Factors:
    """Of r, z, s and n, side by side; `run_back` turns them into the gradients of what they are of.

    Those of r, z and s lie as the rows of the state's weights do. Those of r, z and n would lie as
    the rows of the inputs' weights do, so there two products are made.

    Args:
        like: a tensor of their type and device.
        n_steps: of the chunk.
        batch_size: its rows.
        hidden_size: of the layer.

    Attributes:
        whole: shape (time, batch, 4 * hidden_size); its rows are not contiguous.
    """

    def __init__(self, like: Tensor, n_steps: int, batch_size: int, hidden_size: int) -> None:
        width = 4 * hidden_size
        self.whole = like.new_empty(n_steps, batch_size, width + PADDING).narrow(2, 0, width)
        self.hidden_size = hidden_size

    def rows(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return those of all steps: r, z and s; r and z; n; two dimensions each."""
        rows, width = self.whole.flatten(0, 1), self.hidden_size
        return rows[:, : 3 * width], rows[:, : 2 * width], rows[:, 3 * width :]

    def compute(
        self, steps: slice, r: Tensor, z: Tensor, s: Tensor, n: Tensor, before: Tensor
    ) -> None:
        """Compute those of some steps.

        Args:
            steps: which.
            r: reset gates of these steps, shape (time, batch, hidden_size).
            z: update gates, of the same shape.
            s: the state's share of n, of the same shape.
            n: new gates, of the same shape.
            before: the state before each of these steps, shape (time, batch, hidden_size).
        """
        of_r, of_z, of_s, of_n = self.whole[steps].chunk(4, dim=-1)
        scratch = torch.rsub(z, 1)
        _tanh_backward(scratch, n, grad_input=of_n)
        torch.sub(before, n, out=scratch)
        _sigmoid_backward(scratch, z, grad_input=of_z)
        torch.mul(of_n, s, out=scratch)
        _sigmoid_backward(scratch, r, grad_input=of_r)
        torch.mul(of_n, r, out=of_s)


def run_back(
    factors: Factors,
    steps: slice,
    z: Tensor,
    dy: Tensor | None,
    dh: Tensor,
    w: Tensor,
    *,
    wants_dh_0: bool,
) -> Tensor:
    """Turn the factors of some steps into gradients, the last step first.

    Args:
        factors: of the chunk.
        steps: which.
        z: of these steps, shape (time, batch, hidden_size).
        dy: the gradient of the chunk's outputs, shape (time, batch, hidden_size); None for none.
        dh: the gradient of the state after these steps, that of the last one's output included,
            shape (batch, hidden_size); overwritten.
        w: weights of the state.
        wants_dh_0: whether the gradient of the state before the first step of the chunk is wanted.

    Returns:
        The gradient of the state before these steps, that of the output there included.
    """
    whole, width = factors.whole[steps], factors.hidden_size
    of_all = whole.unflatten(-1, (4, width)).unbind()
    of_state, z_of = whole.narrow(-1, 0, 3 * width).unbind(), z.unbind()
    outputs = None if dy is None else dy.unbind()
    spare = torch.empty_like(dh)
    addcmul, addmm, mul = torch.addcmul, torch.addmm, torch.mul
    for k in reversed(range(len(of_all))):
        of_all[k].mul_(dh.unsqueeze(1))
        t = steps.start + k
        if t == 0 and not wants_dh_0:
            break
        if outputs is None or t == 0:
            mul(dh, z_of[k], out=spare)
        else:
            addcmul(outputs[t - 1], dh, z_of[k], out=spare)
        dh, spare = addmm(spare, of_state[k], w, out=spare), dh
    return dh
