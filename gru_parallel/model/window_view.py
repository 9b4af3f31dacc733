"""WindowView: windows of a series as the rows and steps that a stack runs over, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from gru_parallel.errors import ShapeError
from gru_parallel.model.windows import Windows

DIGITS = 2
"""Columns that hold a number, as digits to the base `BASE`."""

BASE = 256
"""Every digit is a whole number that bfloat16 has, too."""


@dataclass(frozen=True)
class WindowView:
    """How windows become the rows and steps that a stack runs over. It has no weights.

    The engines apply it before everything else, and undo it on predictions, so that stages and
    schedules see an ordinary batch. What an encoder has to know of a row or a step (its channel,
    its place after the window) comes as further columns of x, see `StepEncoder`.

    Attributes:
        segment_length: consecutive time steps that become one step, which has all their values.
        n_channels: channels, each of which becomes a row of its own, with its own column of the
            targets; None where all channels of a window are one row.
    """

    segment_length: int = 1
    n_channels: int | None = None

    def rows_of(self, windows: Windows, n_decoding: int = 0) -> Windows:
        """Return the windows as rows and steps.

        Args:
            windows: x of shape (batch, time, channels), y of shape (batch, time, channels), and
                what goes with them; h_0 is that of the rows already.
            n_decoding: steps that are added after the window's, whose values are zeros.

        Returns:
            x of shape (rows, time / segment_length + n_decoding, features), where rows are those of
            the windows or, window by window, one per channel. Features are the values of a segment,
            step by step; then, with `n_channels`, the number of the channel; then, with
            `n_decoding`, the number of the step after the window, 0 within it. The last two have
            `DIGITS` columns each.

        Raises:
            ShapeError: the windows have another number of channels, are no whole number of
                segments, or end at different steps although they are cut into segments.
        """
        if windows.lengths is not None and (self.segment_length > 1 or n_decoding > 0):
            raise ShapeError(
                "Windows that end at different steps (lengths) are not cut into segments, and no"
                " decoder runs on from them; give windows of one length."
            )
        x = self._steps_of(windows.x, n_decoding)
        if self.n_channels is None:
            return replace(windows, x=x)
        y, scale, lengths, reset = windows.y, windows.scale, windows.lengths, windows.reset
        return replace(
            windows,
            x=x,
            y=None if y is None else self._channels_of(y, "Targets").flatten(0, 1),
            scale=None if scale is None else self._channels_of(scale, "Scales").flatten(0, 1),
            lengths=None if lengths is None else lengths.repeat_interleave(self.n_channels),
            reset=None if reset is None else reset.repeat_interleave(self.n_channels),
        )

    def predictions_of(self, predictions: Tensor) -> Tensor:
        """Return the predictions of rows as those of windows.

        Args:
            predictions: of rows, in their order, shape (rows, time, targets of a row).

        Returns:
            Shape (batch, time, targets).
        """
        if self.n_channels is None:
            return predictions
        by_channel: Tensor = predictions.unflatten(
            0, (self.n_windows(predictions.shape[0]), self.n_channels)
        )
        return by_channel.squeeze(3).transpose(1, 2).contiguous()

    def n_windows(self, n_rows: int) -> int:
        """Return how many windows so many rows are."""
        return n_rows // (self.n_channels or 1)

    def _steps_of(self, x: Tensor, n_decoding: int) -> Tensor:
        """Return x as rows and steps, with the numbers of both."""
        by_channel = x.unsqueeze(1) if self.n_channels is None else self._channels_of(x, "Windows")
        n_steps = x.shape[1] // self.segment_length
        if x.shape[1] % self.segment_length > 0:
            raise ShapeError(
                f"Windows of {x.shape[1]} steps are no whole number of segments of"
                f" {self.segment_length}; give a multiple of that."
            )
        segments = by_channel.unflatten(2, (n_steps, self.segment_length)).flatten(3)
        steps = functional.pad(segments, (0, 0, 0, n_decoding))
        numbers = self._numbers(steps, n_steps, n_decoding)
        return torch.cat([steps, *numbers], dim=3).flatten(0, 1)

    def _numbers(self, steps: Tensor, n_steps: int, n_decoding: int) -> Iterator[Tensor]:
        """Yield the columns that number channels and steps, for steps by window and channel."""
        shape = (*steps.shape[:3], DIGITS)
        if self.n_channels is not None:
            channels = torch.arange(self.n_channels, device=steps.device)
            yield digits(channels).to(steps.dtype)[:, None].expand(shape)
        if n_decoding > 0:
            after = torch.arange(1, n_decoding + 1, device=steps.device)
            yield digits(functional.pad(after, (n_steps, 0))).to(steps.dtype).expand(shape)

    def _channels_of(self, tensor: Tensor, what: str) -> Tensor:
        """Return (batch, time, channels) as (batch, channels, time, 1)."""
        if tensor.dim() != 3 or tensor.shape[2] != self.n_channels:
            raise ShapeError(
                f"{what} of shape {tuple(tensor.shape)} do not fit a model that takes each of"
                f" {self.n_channels} channels by itself; use (batch, time, {self.n_channels})."
            )
        return tensor.transpose(1, 2).unsqueeze(3)


def digits(numbers: Tensor) -> Tensor:
    """Write whole numbers below `BASE` squared as digits: (...) to (..., DIGITS)."""
    return torch.stack([numbers // BASE, numbers % BASE], dim=-1)


def numbers_of(columns: Tensor) -> Tensor:
    """Read what `digits` wrote, from a tensor of any type: (..., DIGITS) to (...)."""
    high, low = columns.long().unbind(-1)
    return high * BASE + low
