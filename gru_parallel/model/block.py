"""GRUBlock: consecutive layers of a GRU as one module, the unit of placement."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gru_parallel.errors import ShapeError
from gru_parallel.model.dropout import DropoutKey, dropout


class GRUBlock(nn.Module):
    """One or more consecutive layers of a stack, with weights and a hidden state of their own.

    The block computes what the same layers of one `nn.GRU` would, given their share of h_0. Dropout
    follows every layer but the last of the whole stack, so also the last layer of a block inside
    the stack.

    Args:
        input_size: features of x.
        hidden_size: features of each layer's output.
        num_layers: layers in this block.
        first_layer: index of the block's first layer in the whole stack.
        last: whether the block's last layer is the last of the stack (no dropout after it).
        dropout: probability of dropping an output between layers, 0 <= dropout < 1.
        bias: whether layers have biases.
        device: where the parameters are created.
        dtype: the parameters' type.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        first_layer: int = 0,
        last: bool = True,
        dropout: float = 0.0,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout={dropout} is no probability below 1; use 0 <= dropout < 1.")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.first_layer = first_layer
        self.last = last
        self.dropout = dropout
        # Without dropout the layers go into one call, in which cuDNN overlaps them; with dropout
        # the masks between them are ours, so each layer is a call of its own.
        sizes = [num_layers] if dropout == 0.0 else [1] * num_layers
        self.parts = nn.ModuleList()
        for size in sizes:
            part = nn.GRU(input_size, hidden_size, size, bias=bias, device=device, dtype=dtype)
            self.parts.append(part)
            input_size = hidden_size

    @property
    def layers(self) -> range:
        """Indices of the block's layers in the whole stack."""
        return range(self.first_layer, self.first_layer + self.num_layers)

    @property
    def gru_parts(self) -> tuple[nn.GRU, ...]:
        """The block's calls of `nn.GRU` in order."""
        return tuple(part for part in self.parts if isinstance(part, nn.GRU))

    def forward(
        self, x: Tensor, h_0: Tensor, key: DropoutKey | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run one chunk of one micro-batch through this block.

        Args:
            x: inputs, shape (time, batch, input_size).
            h_0: hidden state entering the chunk, shape (layers, batch, hidden_size).
            key: names the random numbers of dropout; None uses torch's global generator.

        Returns:
            y: outputs, shape (time, batch, hidden_size).
            h_n: hidden state leaving the chunk, shape (layers, batch, hidden_size).

        Raises:
            ShapeError: x or h_0 does not fit this block, or they disagree in batch.
        """
        self._check(x, h_0)
        states: list[Tensor] = []
        layer = self.first_layer
        for part in self.gru_parts:
            size = part.num_layers
            first = layer - self.first_layer
            x, h_n = part(x, h_0[first : first + size])
            states.append(h_n)
            layer += size
            last = self.last and layer == self.layers.stop
            if self.training and self.dropout > 0.0 and not last:
                x = dropout(x, self.dropout, layer - 1, key)
        return x, states[0] if len(states) == 1 else torch.cat(states)

    def extra_repr(self) -> str:
        """Describe the block's place in the stack."""
        return f"layers {self.layers.start}-{self.layers.stop - 1}, dropout={self.dropout}"

    def _check(self, x: Tensor, h_0: Tensor) -> None:
        expected = (self.num_layers, x.shape[1], self.hidden_size) if x.dim() == 3 else None
        if expected is None or x.shape[2] != self.input_size or tuple(h_0.shape) != expected:
            raise ShapeError(
                f"x of shape {tuple(x.shape)} and h_0 of shape {tuple(h_0.shape)} do not fit a"
                f" block that takes x as (time, batch, {self.input_size}) and h_0 as"
                f" ({self.num_layers}, batch, {self.hidden_size})."
            )
