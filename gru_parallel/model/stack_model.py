"""StackModel: the whole model: encoder, blocks, head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gru_parallel.model.dropout import DropoutKey
from gru_parallel.model.head import Head
from gru_parallel.model.hidden import Start
from gru_parallel.model.ragged import batch_sizes_of, longest_first
from gru_parallel.model.stack import GRUStack


class StackModel(nn.Module):
    """The whole model: encoder -> blocks -> head.

    Args:
        encoder: applied at every step, (time, batch, n_channels) -> (time, batch, input_size);
            `nn.Identity()` for none.
        stack: the blocks.
        head: from the stack's outputs to predictions.
    """

    def __init__(self, encoder: nn.Module, stack: GRUStack, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.gru = stack
        self.head = head

    def forward(
        self, x: Tensor, key: DropoutKey | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """Predict in one piece on one device: the reference that the pipeline must equal.

        Args:
            x: windows, shape (batch, time, n_channels).
            key: identifies the random numbers of dropout; None uses torch's global generator.
            lengths: time steps of each window, shape (batch,); None if all are whole.

        Returns:
            Predictions of the head, batch first, zero after a window's end.
        """
        return self.run(x, key, lengths)[0]

    def run(
        self,
        x: Tensor,
        key: DropoutKey | None = None,
        lengths: Tensor | None = None,
        start: Start | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict, and return the final states, too.

        Args:
            x: windows, shape (batch, time, n_channels).
            key: identifies the random numbers of dropout; None uses torch's global generator.
            lengths: time steps of each window, shape (batch,); None if all are whole.
            start: what the blocks start from.

        Returns:
            predictions: of the head, batch first.
            h_n: final states, shape (n_states, batch, hidden_size).
        """
        if lengths is None:
            y, h_n = self.gru(self.encoder(x.transpose(0, 1)), key=key, start=start)
            return self.head(y), h_n
        lengths = lengths.cpu()
        order = longest_first(lengths)
        back = order.argsort()
        longest = lengths[order]
        sizes = batch_sizes_of(longest.tolist(), x.shape[1])
        runs = torch.arange(len(sizes), device=longest.device) < longest.unsqueeze(1)
        # What lies after a window's end is never read, even where it is NaN.
        rows = x[order, : len(sizes)].masked_fill(~runs.unsqueeze(2).to(x.device), 0.0)
        rows = rows.transpose(0, 1)
        if start is not None:
            start = start.for_rows(len(order)).of(slice(None), order)
        y, h_n = self.gru(self.encoder(rows), key=key, start=start, batch_sizes=sizes)
        if not self.head.every_step:
            ends = y[longest - 1, torch.arange(len(longest), device=longest.device)]
            return self.head(ends.unsqueeze(0))[back], h_n[:, back]
        # At every step of the window, which the longest row may not fill.
        prediction = self.head(y)
        prediction = prediction * runs.unsqueeze(2).to(prediction)
        rest = x.shape[1] - len(sizes)
        return nn.functional.pad(prediction, (0, 0, 0, rest))[back], h_n[:, back]
