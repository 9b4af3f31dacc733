"""StackModel: the whole model: view, encoder, blocks, head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gru_parallel.model.dropout import DropoutKey
from gru_parallel.model.head import Head, scores_of
from gru_parallel.model.hidden import Start
from gru_parallel.model.loss import POINT, Output
from gru_parallel.model.ragged import (
    batch_sizes_of,
    longest_first,
    padded_to,
    zero_after_the_end,
)
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
        output: what the numbers of the head mean; None for one number per value, its forecast.

    Raises:
        UsageError: a decoder cannot run on from a bidirectional block, whose reverse direction ends
            where the window begins.
    """

    # Of a model that was pickled before there was any.
    view: WindowView | None = None
    output: Output = POINT

    def __init__(
        self,
        encoder: nn.Module,
        stack: GRUStack,
        head: Head,
        view: WindowView | None = None,
        output: Output | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.gru = stack
        self.head = head
        self.view = view
        self.output = output or POINT
        if head.n_decoding > 0:
            self.view = view or WindowView()
            check_decoder([block.n_directions == 2 for block in stack.gru_blocks])

    def extra_repr(self) -> str:
        """Describe the view, and an output of several numbers, if there are any."""
        parts = [self.view, self.output if self.output.levels else None]
        return ", ".join(str(part) for part in parts if part is not None)

    def rows_of(self, windows: Windows) -> Windows:
        """Return windows as the rows and steps that encoder, blocks and head run over."""
        return windows if self.view is None else self.view.rows_of(windows, self.head.n_decoding)

    def predictions_of(self, predictions: Tensor) -> Tensor:
        """Return the predictions of rows as those of windows."""
        return predictions if self.view is None else self.view.predictions_of(predictions)

    def forward(
        self,
        x: Tensor,
        key: DropoutKey | None = None,
        lengths: Tensor | None = None,
        future: Tensor | None = None,
        static: Tensor | None = None,
    ) -> Tensor:
        """Predict in one piece on one device: the reference that the pipeline must equal.

        Args:
            x: windows, shape (batch, time, n_channels).
            key: identifies the random numbers of dropout; None uses torch's global generator.
            lengths: time steps of each window, shape (batch,); None if all are whole.
            future: what is known ahead of the rows after the window, see `Windows`.
            static: what is the same in all rows of a series, see `Windows`.

        Returns:
            Predictions of the head, batch first, zero after a window's end.
        """
        rows = self.rows_of(Windows(x, lengths=lengths, future=future, static=static))
        return self.predictions_of(self.run(rows.x, key, rows.lengths)[0])

    def run(
        self,
        x: Tensor,
        key: DropoutKey | None = None,
        lengths: Tensor | None = None,
        start: Start | None = None,
        scale: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict for what `rows_of` made of windows, and return the final states, too.

        Args:
            x: rows, shape (batch, time, features).
            key: identifies the random numbers of dropout; None uses torch's global generator.
            lengths: time steps of each row, shape (batch,); None if all are whole.
            start: what the blocks start from.
            scale: of the rows, see `Windows`; None for none.

        Returns:
            predictions: what `Output.prediction` makes of the head's numbers, batch first.
            h_n: final states, shape (n_states, batch, hidden_size).
        """
        if lengths is None:
            encoded = self.encoder(x.transpose(0, 1))
            n_decoding = self.head.n_decoding
            y, h_n = self.gru(encoded, key=key, start=start, n_decoding=n_decoding)
            return self.output.prediction(scores_of(self.head, y), scale), h_n
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
            scores = scores_of(self.head, ends.unsqueeze(0))[back]
            return self.output.prediction(scores, scale), h_n[:, back]
        # At every step of the window, which the longest row may not fill.
        prediction = self.output.prediction(scores_of(self.head, y)[back], scale)
        prediction = zero_after_the_end(prediction, runs[back])
        return padded_to(prediction, x.shape[1]), h_n[:, back]
