"""Steps after a window, each of which runs from the last state of the window, not from each other.

They are independent of one another, so they run as the rows of one step. S. Lin et al., 2023,
arXiv:2308.11200, call it parallel multi-step forecasting.
"""

from __future__ import annotations

import torch
from torch import Tensor


def split(x: Tensor, n_decoding: int) -> tuple[Tensor, Tensor]:
    """Part the steps of a window from those after it.

    Args:
        x: shape (time, batch, features), the last `n_decoding` steps after the window.
        n_decoding: at least 1.

    Returns:
        window: its steps.
        after: those after it as rows of one step, shape (1, n_decoding * batch, features).
    """
    # A copy, so that results do not depend on where in memory it begins.
    return x[:-n_decoding], x[-n_decoding:].flatten(0, 1).unsqueeze(0).clone()


def join(window: Tensor, after: Tensor, n_decoding: int) -> Tensor:
    """Undo `split`."""
    return torch.cat([window, after.squeeze(0).unflatten(0, (n_decoding, window.shape[1]))])


def spread(h_n: Tensor, n_decoding: int) -> Tensor:
    """Give each step after a window its last state: (n, batch, h) to (n, steps * batch, h)."""
    return h_n.repeat(1, n_decoding, 1)


def gathered(dh: Tensor, n_decoding: int) -> Tensor:
    """Return the gradient of h_n from that of what `spread` made of it."""
    of_steps: Tensor = dh.unflatten(1, (n_decoding, dh.shape[1] // n_decoding))
    return of_steps.sum(1)
