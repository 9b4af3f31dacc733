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
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from gru_parallel.data.share import ALL_ROWS, Share
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.data.windows import Batch, WindowDataset
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
    if centre == "last":
        raise UsageError(
            "data.centre=last makes each window relative to its last row, so a state carried along "
            "data.order=streams would be relative to another level in each window; use "
            "data.centre=none."
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
    def of(cls, windows: WindowDataset) -> "Streams":
        """Chain the windows of each series."""
        step = windows.shape.input_length // windows.stride
        n_windows = windows.n_windows_by_series.numpy()
        starts = np.cumsum(n_windows) - n_windows
        n_streams = np.minimum(n_windows, step)
        phase = _count_up(n_streams)
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


class StreamBatches(Dataset[Batch]):
    """The batches of a part in the order of its streams; item `i` is a whole batch.

    A batch is what `WindowDataset` makes of its windows, and two more tensors of shape `(batch,)`:
    `reset`, bool, tells which rows begin another stream; `index`, int64, is that of each window.

    With `n = len(self)`, items 0 to n - 1 are the batches of epoch 0, n to 2n - 1 those of epoch 1,
    and so on: an item depends on its number alone, whatever process fetches it.
    """

    def __init__(
        self,
        windows: WindowDataset,
        batch_size: int,
        seed: int | None = None,
        n_filled: int = 1,
        share: Share = ALL_ROWS,
    ) -> None:
        """Assign the streams to the rows of a batch.

        Args:
            windows: all windows of the part.
            batch_size: rows of a batch, at most.
            seed: of the order of the streams, drawn for each epoch; None keeps their order.
            n_filled: rows to fill even if streams have to be cut, see `Streams.cut`.
            share: which rows of each batch to fetch.

        Raises:
            UsageError: the stride does not divide the windows' length, or there are more shares
                than rows.
        """
        check_stride("data.stride", windows.stride, windows.shape)
        self.windows = windows
        self.batch_size = batch_size
        self._seed = seed
        self._rows = share.rows(batch_size)
        self._streams = Streams.of(windows).cut(min(n_filled, batch_size))
        self._begins = torch.zeros(len(windows), dtype=torch.bool)
        self._begins[torch.from_numpy(self._streams.first)] = True
        lengths = np.sort(self._streams.n_windows)[::-1]
        self._row_of_rank = _assign(lengths, batch_size)
        # Each epoch fills the rows to the same height, so all have the same number of batches.
        heights = np.bincount(self._row_of_rank, weights=lengths).astype(np.intp)
        n_rows_by_batch = (heights > np.arange(heights[0])[:, None]).sum(axis=1)
        self._batch_ends = np.cumsum(n_rows_by_batch)
        self._epoch, self._order = 0, self._order_of(0)

    def __len__(self) -> int:
        """Number of batches of an epoch."""
        return len(self._batch_ends)

    def __getitem__(self, number: int) -> Batch:
        """The share of one batch, numbered from the first of epoch 0."""
        epoch, batch = divmod(number, len(self))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._order_of(epoch)
        start = 0 if batch == 0 else self._batch_ends[batch - 1]
        whole = self._order[start : self._batch_ends[batch]]
        index = torch.from_numpy(whole[self._rows])
        reset = self._begins[index]
        return {**self.windows.__getitems__(index), "reset": reset, "index": index}

    def first_windows(self, n_batches: int) -> Tensor:
        """The windows of the first batches of epoch 0, in all shares."""
        end = self._batch_ends[n_batches - 1] if n_batches > 0 else 0
        return torch.from_numpy(self._order_of(0)[:end])

    def _order_of(self, epoch: int) -> Integers:
        """All windows in the order of an epoch, batch after batch, row after row."""
        streams = self._streams
        n_streams = len(streams.first)
        shuffled = np.arange(n_streams)
        turn = np.arange(n_streams)
        if self._seed is not None:
            random = np.random.default_rng([self._seed, epoch])
            shuffled, turn = random.permutation(n_streams), random.permutation(n_streams)
        # Streams of one length are exchanged at random, and so are the streams of one row.
        by_rank = shuffled[np.argsort(-streams.n_windows[shuffled], kind="stable")]
        ranks = np.lexsort((turn, self._row_of_rank))
        in_turn, row = by_rank[ranks], self._row_of_rank[ranks]
        n_windows = streams.n_windows[in_turn]
        window = np.repeat(streams.first[in_turn], n_windows)
        window = window + _count_up(n_windows) * streams.step
        row = np.repeat(row, n_windows)
        batch = _count_up(np.bincount(row))
        return window[np.lexsort((row, batch))]


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


def _count_up(lengths: Integers) -> Integers:
    """Count from 0 to each length in turn: (3, 2) gives 0, 1, 2, 0, 1."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
