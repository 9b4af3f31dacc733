"""BidirectionalBlock: layers that run in both directions of time, a barrier in time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gru_parallel.model.block import Block
from gru_parallel.model.core.run import run_gru
from gru_parallel.model.core.tape import Tape
from gru_parallel.model.dropout import DropoutKey
from gru_parallel.model.ragged import BatchSizes, reverse_time

FORWARD, REVERSE = 0, 1


class BidirectionalBlock(Block):
    """A block whose layers run in both directions, each with its own weights and states.

    Computes what the same layers of one `nn.GRU(bidirectional=True)` would. The reverse direction
    begins at the end of the sequence, so the block runs whole sequences only. The outputs of a
    layer's two directions are joined only at its end, so they may run on two devices.
    """

    n_directions = 2

    def _cut_into_parts(self) -> tuple[int, ...]:
        """Return for each of `parts` its number of layers: it is one direction of one layer."""
        return (1,) * self.n_states

    @property
    def part_names(self) -> tuple[tuple[int, str], ...]:
        """For each of `parts`, its layer within the block and its names' suffix."""
        return tuple((k, suffix) for k in range(self.num_layers) for suffix in ("", "_reverse"))

    def forward(
        self,
        x: Tensor,
        h_0: Tensor,
        key: DropoutKey | None = None,
        batch_sizes: BatchSizes | None = None,
        tape: Tape | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `Block.forward`; a piece is the whole sequence of one micro-batch."""
        self.check(x, h_0)
        states = []
        for k in range(self.num_layers):
            normed, outputs = self.normed(x, k), []
            for direction in (FORWARD, REVERSE):
                h = h_0[self.state(k, direction)]
                y, h_n = self.run_direction(k, direction, normed, h, batch_sizes, tape)
                outputs.append(y)
                states.append(h_n)
            joined = self.join(k, outputs[FORWARD], outputs[REVERSE], key)
            x = self.with_residual(x, joined)
        return x, torch.cat(states)

    def state(self, k: int, direction: int) -> slice:
        """Return where the state of one direction of the k-th layer is in the block's states."""
        index = k * self.n_directions + direction
        return slice(index, index + 1)

    def part(self, k: int, direction: int) -> nn.GRU:
        """Return the weights of one direction of the block's k-th layer."""
        return self.gru_parts[k * self.n_directions + direction]

    def run_direction(
        self,
        k: int,
        direction: int,
        x: Tensor,
        h_0: Tensor,
        batch_sizes: BatchSizes | None,
        tape: Tape | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run one direction of the block's k-th layer.

        Args:
            k: index of the layer within the block.
            direction: FORWARD or REVERSE.
            x: inputs of the layer, shape (time, batch, features).
            h_0: the direction's state, shape (1, batch, hidden_size).
            batch_sizes: rows at each step; None if all rows run at all steps.
            tape: takes what B leaves for W; see `Block.forward`.

        Returns:
            y: outputs in the order of time, shape (time, batch, hidden_size).
            h_n: the direction's last state, shape (1, batch, hidden_size).
        """
        if direction == FORWARD:
            return run_gru(self.part(k, FORWARD), x, h_0, batch_sizes, self.core, tape)
        reversed_x = reverse_time(x, batch_sizes)
        y, h_n = run_gru(self.part(k, REVERSE), reversed_x, h_0, batch_sizes, self.core, tape)
        return reverse_time(y, batch_sizes), h_n

    def join(self, k: int, forward: Tensor, reverse: Tensor, key: DropoutKey | None) -> Tensor:
        """Join the outputs of both directions of the k-th layer, and apply dropout."""
        return self.drop(torch.cat([forward, reverse], dim=-1), self.first_layer + k, key)
