"""The batches of a part in the order of its streams, as tensors: data.order=streams."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gru_parallel.data.share import ALL_ROWS, Share
from gru_parallel.data.streams import Integers, StreamRows, Streams, check_stride, count_up
from gru_parallel.data.windows import Batch, WindowDataset


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
        self.share = share
        self._seed = seed
        self._rows = share.rows(batch_size)
        streams = Streams.of(windows.n_windows_by_series.numpy(), windows.shape, windows.stride)
        self._streams = streams.cut(min(n_filled, batch_size))
        self._begins = torch.zeros(len(windows), dtype=torch.bool)
        self._begins[torch.from_numpy(self._streams.first)] = True
        rows = StreamRows.of(self._streams, batch_size)
        self._row_of_rank, self._batch_ends = rows.row_of_rank, rows.batch_ends
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
        window = window + count_up(n_windows) * streams.step
        row = np.repeat(row, n_windows)
        batch = count_up(np.bincount(row))
        return window[np.lexsort((row, batch))]
