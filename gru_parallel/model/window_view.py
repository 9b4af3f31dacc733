"""WindowView: windows of a series as the rows and steps that a stack runs over, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from gru_parallel.errors import ShapeError, UsageError
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

    Raises:
        UsageError: there are more channels than can be numbered.
    """

    segment_length: int = 1
    n_channels: int | None = None

    def __post_init__(self) -> None:
        check_number("model.per_channel=true", "channels", self.n_channels or 0)

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
        rows = x if self.n_channels is None else self._channels_of(x, "Windows").flatten(0, 1)
        n_steps = x.shape[1] // self.segment_length
        if x.shape[1] % self.segment_length > 0:
            raise ShapeError(
                f"Windows of {x.shape[1]} steps are no whole number of segments of"
                f" {self.segment_length}; give a multiple of that."
            )
        n_values = self.segment_length * rows.shape[2]
        steps = rows.reshape(rows.shape[0], n_steps, n_values)
        if n_decoding > 0:
            steps = functional.pad(steps, (0, 0, 0, n_decoding))
        return torch.cat([steps, *self._numbers(x, steps, n_decoding)], dim=2)

    def _numbers(self, x: Tensor, steps: Tensor, n_decoding: int) -> Iterator[Tensor]:
        """Yield the columns that number channels and steps."""
        shape = (*steps.shape[:2], DIGITS)
        if self.n_channels is not None:
            of_window = digits(torch.arange(self.n_channels, device=x.device)).to(x.dtype)
            of_rows = of_window.expand(x.shape[0], self.n_channels, DIGITS).flatten(0, 1)
            yield of_rows.unsqueeze(1).expand(shape)
        if n_decoding > 0:
            after = digits(torch.arange(1, n_decoding + 1, device=x.device)).to(x.dtype)
            in_window = steps.shape[1] - n_decoding
            yield functional.pad(after, (0, 0, in_window, 0)).expand(shape)

    def _channels_of(self, tensor: Tensor, what: str) -> Tensor:
        """Return (batch, time, channels) as (batch, channels, time, 1)."""
        if tensor.dim() != 3 or tensor.shape[2] != self.n_channels:
            raise ShapeError(
                f"{what} of shape {tuple(tensor.shape)} do not fit a model that takes each of"
                f" {self.n_channels} channels by itself; use (batch, time, {self.n_channels})."
            )
        return tensor.transpose(1, 2).unsqueeze(3)


def check_number(setting: str, what: str, number: int) -> None:
    """Raise a UsageError if there are more channels or steps than `digits` can number."""
    if number >= BASE**DIGITS:
        raise UsageError(
            f"{setting} numbers {what} up to {BASE**DIGITS - 1}, and there are {number}; use fewer."
        )


def digits(numbers: Tensor) -> Tensor:
    """Write whole numbers below `BASE` squared as digits: (...) to (..., DIGITS)."""
    return torch.stack([numbers // BASE, numbers % BASE], dim=-1)


def numbers_of(columns: Tensor) -> Tensor:
    """Read what `digits` wrote, from a tensor of any type: (..., DIGITS) to (...)."""
    high, low = columns.long().unbind(-1)
    return high * BASE + low
