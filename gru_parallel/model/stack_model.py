"""StackModel: the whole model: view, encoder, blocks, head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gru_parallel.model.dropout import DropoutKey
from gru_parallel.model.head import Head
from gru_parallel.model.hidden import Start
from gru_parallel.model.ragged import batch_sizes_of, longest_first
from gru_parallel.model.stack import GRUStack
from gru_parallel.model.window_view import WindowView
from gru_parallel.model.windows import Windows
from gru_parallel.placement.model_spec import check_decoder


class StackModel(nn.Module):
    """The whole model: encoder -> blocks -> head, over the rows and steps of a view of windows.

    Args:
        encoder: applied at every step, (time, batch, n_channels) -> (time, batch, input_size);
            `nn.Identity()` for none.
        stack: the blocks.
        head: from the stack's outputs to predictions.
        view: makes rows and steps of windows, and windows of predictions; None leaves both as they
            are.

    Raises:
        UsageError: a decoder cannot run on from a bidirectional block, whose reverse direction ends
            where the window begins.
    """

    # Of a model that was pickled before there was any.
    view: WindowView | None = None

    def __init__(
        self, encoder: nn.Module, stack: GRUStack, head: Head, view: WindowView | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.gru = stack
        self.head = head
        self.view = view
        if head.n_decoding > 0:
            self.view = view or WindowView()
            check_decoder([block.n_directions == 2 for block in stack.gru_blocks])

    def extra_repr(self) -> str:
        """Describe the view, if there is one."""
        return "" if self.view is None else str(self.view)

    def rows_of(self, windows: Windows) -> Windows:
        """Return windows as the rows and steps that encoder, blocks and head run over."""
        return windows if self.view is None else self.view.rows_of(windows, self.head.n_decoding)

    def predictions_of(self, predictions: Tensor) -> Tensor:
        """Return the predictions of rows as those of windows."""
        return predictions if self.view is None else self.view.predictions_of(predictions)

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
        rows = self.rows_of(Windows(x, lengths=lengths))
        return self.predictions_of(self.run(rows.x, key, rows.lengths)[0])

    def run(
        self,
        x: Tensor,
        key: DropoutKey | None = None,
        lengths: Tensor | None = None,
        start: Start | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict for what `rows_of` made of windows, and return the final states, too.

        Args:
            x: rows, shape (batch, time, features).
            key: identifies the random numbers of dropout; None uses torch's global generator.
            lengths: time steps of each row, shape (batch,); None if all are whole.
            start: what the blocks start from.

        Returns:
            predictions: of the head, batch first.
            h_n: final states, shape (n_states, batch, hidden_size).
        """
        if lengths is None:
            encoded = self.encoder(x.transpose(0, 1))
            n_decoding = self.head.n_decoding
            y, h_n = self.gru(encoded, key=key, start=start, n_decoding=n_decoding)
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
