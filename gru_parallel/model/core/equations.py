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

from typing import NamedTuple

import torch
from torch import Tensor

from gru_parallel.model.core.released import released

NUMBERS_OF_A_PIECE = 2**20
"""Steps are worked on in pieces of about so many numbers of factors: a piece stays in the cache."""

PADDING = 16
"""Numbers between the rows of factors: rows a power of two apart would share few cache lines."""

Maybe = Tensor | None


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
    b_ih: Maybe = None
    b_hh: Maybe = None


class Gates(NamedTuple):
    """What a layer computes on its way from x to y.

    Attributes:
        rzs: r, z and s side by side, shape (time, batch, 3 * hidden_size).
        n: shape (time, batch, hidden_size).
    """

    rzs: Tensor
    n: Tensor


def room_for_gates(x: Tensor, n_steps: int, hidden_size: int) -> Gates:
    """Make room for the gates of so many steps of inputs like `x`."""
    rzs = x.new_empty(n_steps, x.shape[1], 3 * hidden_size)
    return Gates(rzs, x.new_empty(n_steps, x.shape[1], hidden_size))


def room_for_factors(x: Tensor, hidden_size: int) -> Tensor:
    """Make room for the factors of the steps of inputs `x`.

    Those of r, z, s and n lie side by side, shape (time, batch, 4 * hidden_size): those of r, z and
    s as the rows of the state's weights do; for the inputs' weights two products are made.
    """
    width = 4 * hidden_size
    return x.new_empty(x.shape[0], x.shape[1], width + PADDING).narrow(2, 0, width)


def pieces(n_steps: int, batch_size: int, hidden_size: int) -> list[slice]:
    """Cut the steps of a chunk into pieces that stay in the cache."""
    of_a_step = max(1, 4 * batch_size * hidden_size)
    size = max(1, NUMBERS_OF_A_PIECE // of_a_step)
    return [slice(start, min(start + size, n_steps)) for start in range(0, n_steps, size)]


def _inputs_share(
    x: Tensor, w_ih: Tensor, b_ih: Maybe, b_hh: Maybe, rzs: Tensor, n: Tensor
) -> None:
    """Write what does not depend on the state: the products of all steps, and the biases."""
    width = n.size(-1)
    rows, of_n = x.flatten(0, 1), n.flatten(0, 1)
    of_rz, of_s = rzs.flatten(0, 1).split([2 * width, width], 1)
    w_rz, w_n = w_ih.t().split([2 * width, width], 1)
    if b_ih is None or b_hh is None:
        torch.mm(rows, w_rz, out=of_rz)
        torch.mm(rows, w_n, out=of_n)
        of_s.zero_()
    else:
        b_rz, b_n = b_ih.split([2 * width, width])
        b_of_rz, b_s = b_hh.split([2 * width, width])
        torch.addmm(b_rz + b_of_rz, rows, w_rz, out=of_rz)
        torch.addmm(b_n, rows, w_n, out=of_n)
        of_s.copy_(b_s)


@released
def run(
    x: Tensor,
    h: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Maybe,
    b_hh: Maybe,
    rzs: Tensor,
    n: Tensor,
    y: Tensor,
) -> None:
    """Compute the gates and the outputs of some steps.

    Args:
        x: inputs, shape (time, batch, input_size), contiguous.
        h: the state that enters, shape (batch, hidden_size).
        w_ih: see `Weights`, as the next three.
        w_hh: of the state.
        b_ih: of the inputs.
        b_hh: of the state.
        rzs: where these gates go, see `Gates`.
        n: where these go.
        y: where the outputs go, shape (time, batch, hidden_size).
    """
    _inputs_share(x, w_ih, b_ih, b_hh, rzs, n)
    r, z, s = rzs.chunk(3, -1)
    all_t, rz_t = rzs.unbind(), rzs.narrow(-1, 0, 2 * n.size(-1)).unbind()
    r_t, z_t, s_t, n_t, y_t = r.unbind(), z.unbind(), s.unbind(), n.unbind(), y.unbind()
    w = w_hh.t()
    for t in range(len(y_t)):
        torch.addmm(all_t[t], h, w, out=all_t[t])
        rz_t[t].sigmoid_()
        n_t[t].addcmul_(r_t[t], s_t[t]).tanh_()
        torch.lerp(n_t[t], h, z_t[t], out=y_t[t])
        h = y_t[t]


@released
def run_again(
    x: Tensor,
    before: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Maybe,
    b_hh: Maybe,
    rzs: Tensor,
    n: Tensor,
) -> None:
    """Compute the gates of some steps again, all steps at once.

    Args:
        x: inputs, shape (time, batch, input_size), contiguous.
        before: the state before each step, shape (time, batch, hidden_size), contiguous.
        w_ih: see `run`, as the others.
        w_hh: of the state.
        b_ih: of the inputs.
        b_hh: of the state.
        rzs: where these gates go, see `Gates`.
        n: where these go.
    """
    _inputs_share(x, w_ih, b_ih, b_hh, rzs, n)
    rows = rzs.flatten(0, 1)
    torch.addmm(rows, before.flatten(0, 1), w_hh.t(), out=rows)
    rzs.narrow(-1, 0, 2 * n.size(-1)).sigmoid_()
    r, _, s = rzs.chunk(3, -1)
    n.addcmul_(r, s).tanh_()


@released
def run_back(
    factors: Tensor,
    start: int,
    rzs: Tensor,
    n: Tensor,
    before: Tensor,
    dy: Maybe,
    dh: Tensor,
    w_hh: Tensor,
    wants_dh_0: bool,
) -> Tensor:
    """Go back over some steps.

    Args:
        factors: of these steps, which become the gradients of r, z, s and n.
        start: the first of these steps in the chunk.
        rzs: the gates of these steps, see `Gates`.
        n: the others.
        before: the state before each of these steps, shape (time, batch, hidden_size).
        dy: the gradient of the chunk's outputs, shape (time, batch, hidden_size); None for none.
        dh: the gradient of the state after these steps, that of the last one's output included,
            shape (batch, hidden_size); overwritten.
        w_hh: weights of the state.
        wants_dh_0: whether the gradient of the state before the first step of the chunk is wanted.

    Returns:
        The gradient of the state before these steps, that of the output there included.
    """
    r, z, s = rzs.chunk(3, -1)
    of_r, of_z, of_s, of_n = factors.chunk(4, -1)
    scratch = torch.rsub(z, 1)
    torch.ops.aten.tanh_backward(scratch, n, grad_input=of_n)
    torch.sub(before, n, out=scratch)
    torch.ops.aten.sigmoid_backward(scratch, z, grad_input=of_z)
    torch.mul(of_n, s, out=scratch)
    torch.ops.aten.sigmoid_backward(scratch, r, grad_input=of_r)
    torch.mul(of_n, r, out=of_s)
    width = n.size(-1)
    all_t = factors.unflatten(-1, [4, width]).unbind()
    rzs_t, z_t = factors.narrow(-1, 0, 3 * width).unbind(), z.unbind()
    spare = torch.empty_like(dh)
    for k in range(len(all_t) - 1, -1, -1):
        all_t[k].mul_(dh.unsqueeze(1))
        t = start + k
        if t == 0 and not wants_dh_0:
            return dh
        if dy is None or t == 0:
            torch.mul(dh, z_t[k], out=spare)
        else:
            torch.addcmul(dy[t - 1], dh, z_t[k], out=spare)
        torch.addmm(spare, rzs_t[k], w_hh, out=spare)
        dh, spare = spare, dh
    return dh


@released
def gradient_of_inputs(gradients: Tensor, w_ih: Tensor, dx: Tensor) -> None:
    """Compute dL/dx of some steps.

    Args:
        gradients: of r, z, s and n at these steps.
        w_ih: weights of the inputs.
        dx: where it goes, shape (time, batch, input_size).
    """
    width = gradients.size(-1) // 4
    rows = gradients.flatten(0, 1)
    of_rz, of_n = rows.narrow(1, 0, 2 * width), rows.narrow(1, 3 * width, width)
    w_rz, w_n = w_ih.split([2 * width, width])
    out = dx.flatten(0, 1)
    torch.mm(of_rz, w_rz, out=out)
    torch.addmm(out, of_n, w_n, out=out)


@released
def add_gradients_of_weights(
    gradients: Tensor,
    x: Tensor,
    before: Tensor,
    w_ih: Maybe,
    w_hh: Maybe,
    b_ih: Maybe,
    b_hh: Maybe,
) -> None:
    """Add the gradients of the weights over some steps to sums, in place.

    Args:
        gradients: of r, z, s and n.
        x: inputs, shape (time, batch, input_size).
        before: the state before each step, shape (time, batch, hidden_size).
        w_ih: the sum for the weights of the inputs; None where it is not wanted, as the others.
        w_hh: that for the weights of the state.
        b_ih: that for the bias of the inputs.
        b_hh: that for the bias of the state.
    """
    width = gradients.size(-1) // 4
    rows = gradients.flatten(0, 1)
    if w_ih is not None:
        values = x.flatten(0, 1)
        of_rz, of_n = w_ih.split([2 * width, width])
        torch.addmm(of_rz, rows.narrow(1, 0, 2 * width).t(), values, out=of_rz)
        torch.addmm(of_n, rows.narrow(1, 3 * width, width).t(), values, out=of_n)
    if w_hh is not None:
        of_state = rows.narrow(1, 0, 3 * width).t()
        torch.addmm(w_hh, of_state, before.flatten(0, 1), out=w_hh)
    if b_ih is not None or b_hh is not None:
        of_rzs, of_n = rows.sum(0).split([3 * width, width])
        if b_hh is not None:
            b_hh.add_(of_rzs)
        if b_ih is not None:
            b_ih.add_(torch.cat([of_rzs.narrow(0, 0, 2 * width), of_n]))
