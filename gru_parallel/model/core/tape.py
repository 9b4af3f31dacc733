"""Tape: what the layers of a cell did in F, so that B goes back through them without autograd.

For a chunk of a few steps of a small layer, autograd costs as much as the work itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from gru_parallel.model.core.equations import Weights
from gru_parallel.model.core.layer import Leave
from gru_parallel.model.core.own import Core, backward


@dataclass(frozen=True, slots=True)
class Run:
    """What F of one layer over one chunk had and gave."""

    core: Core
    weights: Sequence[Tensor]
    x: Tensor
    h_0: Tensor
    y: Tensor
    saved: Sequence[Tensor]


class Tape:
    """Takes what B and W of one cell need.

    Where autograd is off, these are the layers and the masks of dropout, in the order in which they
    run; where it is on, it keeps them itself, and the tape only passes on what B leaves for W.

    Args:
        leave: takes what B leaves for W.
    """

    def __init__(self, leave: Leave) -> None:
        self.leave = leave
        self._ran: list[Run | Tensor] = []

    def layer(
        self, core: Core, x: Tensor, h_0: Tensor, weights: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Run F of a layer; see `run_layer`."""
        # Copied, so that results do not depend on where in memory a state begins.
        h = h_0[0].clone()
        y, saved = core.forward(x, h, Weights(*weights), keep=True)
        self._ran.append(Run(core, weights, x, h, y, saved))
        return y, y[-1:].clone()

    def multiply(self, y: Tensor, mask: Tensor) -> Tensor:
        """Multiply outputs by a mask."""
        self._ran.append(mask)
        return y * mask

    def back(
        self,
        dy: Tensor | None,
        dh_n: Sequence[Tensor | None],
        *,
        wants_dx: bool,
        wants_dh_0: Sequence[bool],
    ) -> tuple[Tensor | None, list[Tensor | None]]:
        """Run B, once: what F kept is gone after it.

        Args:
            dy: gradient of the last outputs, shape (time, batch, features); None for none.
            dh_n: for each layer, the gradient of its last state, shape (1, batch, hidden_size);
                None for none.
            wants_dx: whether the gradient of the first layer's inputs is wanted.
            wants_dh_0: for each layer, whether that of the state that entered is.

        Returns:
            dx: that gradient; None where it is not wanted, or nothing depends on the inputs.
            dh_0: for each layer, the gradient of the state that entered; None likewise.
        """
        rest, dh_0 = list(zip(dh_n, wants_dh_0, strict=True)), list[Tensor | None]()
        while self._ran:
            ran = self._ran.pop()
            if isinstance(ran, Tensor):
                dy = None if dy is None else dy * ran
                continue
            dh, is_wanted = rest.pop()
            if dy is None and dh is None:
                dh_0.append(None)
                continue
            has_w = any(weight.requires_grad for weight in ran.weights)
            dy, dh_in = backward(
                ran.core,
                dy,
                None if dh is None else dh[0],
                ran.x,
                ran.h_0,
                ran.y,
                ran.saved,
                Weights(*ran.weights),
                leave=partial(self.leave, ran.weights) if has_w else None,
                wants_dx=wants_dx or bool(rest),
                wants_dh_0=is_wanted,
            )
            dh_0.append(None if dh_in is None else dh_in.unsqueeze(0))
        return dy, dh_0[::-1]
