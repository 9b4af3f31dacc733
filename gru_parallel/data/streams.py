"""Batches in which each row continues the same row of the batch before: data.order=streams.

A stream is a chain of windows of one series, each of which begins where the one before it ended, so
that a hidden state can be carried along it. With `q = input_length / stride`, windows j, j + q,
j + 2q, ... of a series are a stream, for each phase j < q: together, all its windows once.

    batch     0    1    2    3         stream a has 3 windows, b and c have 2
    row 0     b0*  b1   c0*  c1        * reset: the row begins another stream
    row 1     a0*  a1   a2

Where there are fewer streams than rows to fill, as in one long series, they are cut into
consecutive pieces, each of which is then a stream of its own:

    batch     0    1    2              stream a has 9 windows, and there are 3 rows
    row 0     a0*  a1   a2
    row 1     a3*  a4   a5
    row 2     a6*  a7   a8

Row i of a batch continues row i of the batch before, unless it is reset. Rows are sorted by their
number of windows, so a batch with fewer rows than the one before lacks the last ones.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.window_shape import WindowShape
from gru_parallel.errors import UsageError

Integers = NDArray[np.intp]


def check_stride(setting: str, stride: int, shape: WindowShape) -> None:
    """Raise a UsageError if, with this stride, no window begins where another one ends."""
    if shape.input_length % stride:
        raise UsageError(
            f"{setting}={stride} does not divide data.input_length={shape.input_length}, so with "
            "data.order=streams no window would begin where another one ends; use a stride that "
            f"divides it, {setting}={shape.input_length} for each row once."
        )


def check_level(centre: str) -> None:
    """Raise a UsageError if each window is relative to another level."""
    if centre != "none":
        level = "last row" if centre == "last" else "mean"
        raise UsageError(
            f"data.centre={centre} makes each window relative to its {level}, so a state carried"
            " along data.order=streams would be relative to another level in each window; use"
            " data.centre=none."
        )


@dataclass(frozen=True)
class Streams:
    """The streams of a part.

    Attributes:
        first: index of each stream's first window, array of shape `(streams,)`.
        n_windows: number of windows of each stream, of the same shape.
        step: from the index of a window of a stream to the index of the next one.
    """

    first: Integers
    n_windows: Integers
    step: int

    @classmethod
    def of(cls, n_windows: Integers, shape: WindowShape, stride: int) -> "Streams":
        """Chain the windows of each series.

        Args:
            n_windows: number of windows of each series, array of shape `(series,)`.
            shape: extent of a window.
            stride: rows from one window to the next.
        """
        step = shape.input_length // stride
        starts = np.cumsum(n_windows) - n_windows
        n_streams = np.minimum(n_windows, step)
        phase = count_up(n_streams)
        # The ceiling of what is left of the series' windows from this phase on, over the step.
        of_stream = -((phase - np.repeat(n_windows, n_streams)) // step)
        return cls(np.repeat(starts, n_streams) + phase, of_stream, step)

    def cut(self, n_rows: int) -> "Streams":
        """Cut the streams into pieces if there are fewer of them than rows to fill.

        All windows, stream after stream, make one line, which is cut into rows of one length.
        R. McNaughton, "Scheduling with deadlines and loss functions", Management Science 6, 1959.

        Args:
            n_rows: rows to fill; fewer are filled if rows would have less than 2 windows, along
                which nothing is carried.

        Returns:
            The pieces, in the order of the streams.
        """
        n_windows = int(self.n_windows.sum())
        n_rows = min(n_rows, n_windows // 2)
        if n_rows <= len(self.first):
            return self
        streams_at = np.cumsum(self.n_windows) - self.n_windows
        rows_at = np.arange(n_rows) * n_windows // n_rows
        pieces_at = np.union1d(streams_at, rows_at)
        stream = np.searchsorted(streams_at, pieces_at, side="right") - 1
        first = self.first[stream] + (pieces_at - streams_at[stream]) * self.step
        return Streams(first, np.diff(pieces_at, append=n_windows), self.step)


@dataclass(frozen=True)
class StreamRows:
    """The streams of a part in the rows of its batches.

    Attributes:
        row_of_rank: the row of each stream, the longest streams first, array of shape `(streams,)`.
        batch_ends: number of windows up to the end of each batch, array of shape `(batches,)`.
    """

    row_of_rank: Integers
    batch_ends: Integers

    @classmethod
    def of(cls, streams: Streams, batch_size: int) -> "StreamRows":
        """Assign the streams to the rows of batches of at most `batch_size` rows."""
        lengths = np.sort(streams.n_windows)[::-1]
        row_of_rank = _assign(lengths, batch_size)
        # Each epoch fills the rows to the same height, so all have the same number of batches.
        heights = np.bincount(row_of_rank, weights=lengths).astype(np.intp)
        n_rows_by_batch = (heights > np.arange(heights[0])[:, None]).sum(axis=1)
        return cls(row_of_rank, np.cumsum(n_rows_by_batch))


def _assign(lengths: Integers, n_rows: int) -> Integers:
    """Assign each stream to a row: the longest first, each to the row that is free first.

    R. L. Graham, "Bounds on multiprocessing timing anomalies", SIAM J. Appl. Math. 17, 1969.

    Args:
        lengths: number of windows of each stream, descending.
        n_rows: rows of a batch.

    Returns:
        The row of each stream; rows are numbered by their total length, the longest first.
    """
    free = [(0, row) for row in range(min(n_rows, len(lengths)))]
    row_of = np.empty(len(lengths), dtype=np.intp)
    for rank, length in enumerate(lengths.tolist()):
        height, row = free[0]
        row_of[rank] = row
        heapq.heapreplace(free, (height + length, row))
    longest_first = [row for _, row in sorted(free, key=lambda item: (-item[0], item[1]))]
    return np.argsort(longest_first)[row_of]


def count_up(lengths: Integers) -> Integers:
    """Count from 0 to each length in turn: (3, 2) gives 0, 1, 2, 0, 1."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
