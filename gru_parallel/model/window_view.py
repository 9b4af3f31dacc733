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
        n_known: columns that are known ahead, the last ones of x, which all channels share;
            `future` continues them after the window.
        n_static: numbers that are the same in all rows of a series, `static`; every step has them.

    Raises:
        UsageError: there are more channels than can be numbered.
    """

    segment_length: int = 1
    n_channels: int | None = None
    n_known: int = 0
    n_static: int = 0

    def __post_init__(self) -> None:
        check_number("model.per_channel=true", "channels", self.n_channels or 0)

    def rows_of(self, windows: Windows, n_decoding: int = 0) -> Windows:
        """Return the windows as rows and steps.

        Args:
            windows: x of shape (batch, time, channels), y of shape (batch, time, channels), and
                what goes with them; h_0 is that of the rows already.
            n_decoding: steps that are added after the window's. Their values are zeros, but for
                what is known ahead.

        Returns:
            x of shape (rows, time / segment_length + n_decoding, features), where rows are those of
            the windows or, window by window, one per channel. Features are the values of a segment,
            step by step; then what is known ahead of it, step by step, and without `n_decoding`
            also of the step `horizon` later; then `static`; then, with `n_channels`, the number of
            the channel; then, with `n_decoding`, the number of the step after the window, 0 within
            it. The last two have `DIGITS` columns each.

        Raises:
            ShapeError: the windows have another number of channels, are no whole number of
                segments, end at different steps although they are cut into segments, or lack what
                is known ahead or static.
        """
        if windows.lengths is not None and (self.segment_length > 1 or n_decoding > 0):
            raise ShapeError(
                "Windows that end at different steps (lengths) are not cut into segments, and no"
                " decoder runs on from them; give windows of one length."
            )
        x = self._steps_of(windows, n_decoding)
        windows = replace(windows, x=x, future=None, static=None)
        if self.n_channels is None:
            return windows
        y, scale, lengths, reset = windows.y, windows.scale, windows.lengths, windows.reset
        weight = windows.weight
        return replace(
            windows,
            y=None if y is None else self._channels_of(y, "Targets").flatten(0, 1),
            scale=None if scale is None else self._channels_of(scale, "Scales").flatten(0, 1),
            lengths=None if lengths is None else lengths.repeat_interleave(self.n_channels),
            reset=None if reset is None else reset.repeat_interleave(self.n_channels),
            weight=None if weight is None else self._of_rows(weight),
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

    def rows_of_windows(self, windows: slice) -> slice:
        """Return which rows some windows of a batch are, one after the other."""
        n = self.n_channels or 1
        start, stop = (None if end is None else n * end for end in (windows.start, windows.stop))
        return slice(start, stop)

    def _steps_of(self, windows: Windows, n_decoding: int) -> Tensor:
        """Return x as rows and steps, with all that is said of both."""
        x = windows.x
        rows = x if self.n_known == 0 else x[:, :, : -self.n_known]
        if self.n_channels is not None:
            rows = self._channels_of(rows, "Windows").flatten(0, 1)
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
        known = self._known(windows, steps.shape[1], n_decoding)
        static = self._static(windows, steps.shape[1])
        return torch.cat([steps, *known, *static, *self._numbers(x, steps, n_decoding)], dim=2)

    def _known(self, windows: Windows, n_steps: int, n_decoding: int) -> Iterator[Tensor]:
        """Yield the columns that are known ahead."""
        if self.n_known == 0:
            return
        x, future = windows.x, windows.future
        if future is None or (future.shape[0], future.shape[2]) != (x.shape[0], self.n_known):
            shape = None if future is None else tuple(future.shape)
            raise ShapeError(
                f"What is known ahead (future) has the shape {shape}, and the model takes"
                f" {self.n_known} such columns; give ({x.shape[0]}, horizon, {self.n_known})."
            )
        known = torch.cat([x[:, :, -self.n_known :], future], dim=1)
        if n_decoding > 0:
            # The last segment may reach beyond the horizon.
            n_beyond = n_steps * self.segment_length - known.shape[1]
            known = functional.pad(known, (0, 0, 0, n_beyond))
        else:
            ahead = _ahead(known, future.shape[1], windows.lengths)
            known = torch.cat([known[:, : x.shape[1]], ahead], dim=2)
        n_values = self.segment_length * known.shape[2]
        yield self._of_rows(known.reshape(len(known), n_steps, n_values))

    def _static(self, windows: Windows, n_steps: int) -> Iterator[Tensor]:
        """Yield the columns that are the same in all rows of a series."""
        if self.n_static == 0:
            return
        static, wanted = windows.static, (windows.x.shape[0], self.n_static)
        if static is None or static.shape != wanted:
            shape = None if static is None else tuple(static.shape)
            raise ShapeError(f"What is static has the shape {shape}; give {wanted}.")
        yield self._of_rows(static.unsqueeze(1).expand(-1, n_steps, -1))

    def _of_rows(self, of_windows: Tensor) -> Tensor:
        """Return for each row what its window has, batch first."""
        if self.n_channels is None:
            return of_windows
        return of_windows.repeat_interleave(self.n_channels, dim=0)

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


def _ahead(known: Tensor, horizon: int, lengths: Tensor | None) -> Tensor:
    """Return what is known of the row `horizon` after each row of a window.

    Args:
        known: of the rows of a window and those after it, shape (batch, time + horizon, n_known).
        horizon: rows after it.
        lengths: rows of each window; None for all.

    Returns:
        Shape (batch, time, n_known); anything where a window has ended.
    """
    if lengths is None:
        return known[:, horizon:]
    n_steps = known.shape[1] - horizon
    at = torch.arange(horizon, known.shape[1], device=known.device)
    # A window that is shorter has zeros between its end and what comes after it.
    ends = lengths.to(known.device).unsqueeze(1)
    at = torch.where(at < ends, at, (at + n_steps - ends).clamp(max=known.shape[1] - 1))
    return known.gather(1, at.unsqueeze(2).expand(-1, -1, known.shape[2]))


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
