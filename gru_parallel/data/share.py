"""Divides every batch among replicas: engine.data_parallel.

A share is one slice of rows for all batches, from `data.batch_size`: a state is carried along a row
from batch to batch, so a row has to stay with its replica. A smaller batch lacks the last rows, and
with them the last shares lack some or all of theirs:

    rows of a batch of 5     0  1  2  3  4
    2 replicas               a  a  a  b  b
    a last batch of 2        a  a           nothing for b
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch.utils.data import Dataset

from gru_parallel.data.windows import Batch, WindowDataset
from gru_parallel.errors import UsageError


@dataclass(frozen=True)
class Share:
    """The rows of every batch that one replica computes.

    Attributes:
        index: which of the replicas, counted from 0.
        n_shares: number of replicas.
    """

    index: int = 0
    n_shares: int = 1

    def __post_init__(self) -> None:
        """Check that there is such a share."""
        if not 0 <= self.index < self.n_shares:
            raise ValueError(f"index={self.index} is not one of {self.n_shares} shares")

    def rows(self, batch_size: int) -> slice:
        """Return the rows of a batch; shares differ by at most one row, the larger ones first.

        Args:
            batch_size: rows of a full batch; for a smaller one the slice is the same, clipped.

        Raises:
            UsageError: there are more replicas than rows.
        """
        if self.n_shares > batch_size:
            raise UsageError(
                f"engine.data_parallel={self.n_shares} exceeds data.batch_size={batch_size}, the "
                f"rows of a batch that replicas share; use engine.data_parallel <= {batch_size}, "
                "or a larger batch."
            )
        size, n_larger = divmod(batch_size, self.n_shares)
        start = self.index * size + min(self.index, n_larger)
        return slice(start, start + size + (self.index < n_larger))


ALL_ROWS = Share()
"""The share of the only replica."""


class SharedWindows(Dataset[Batch]):
    """The windows of a part, of which one share of each batch is fetched.

    The samplers of all replicas draw the same batches, and their loaders count the same number.
    """

    def __init__(self, windows: WindowDataset, batch_size: int, share: Share) -> None:
        """Take one share of the batches.

        Args:
            windows: all windows of the part.
            batch_size: rows of a full batch of the loader.
            share: which of them to fetch.

        Raises:
            UsageError: there are more shares than rows.
        """
        self.windows = windows
        self._rows = share.rows(batch_size)

    def __len__(self) -> int:
        """Number of windows, those of all shares."""
        return len(self.windows)

    def __getitem__(self, index: int) -> Batch:
        """One window, without a batch dimension, whatever its share."""
        return self.windows[index]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """The share of the batch of these windows, possibly of 0 rows."""
        return self.windows.__getitems__(indices[self._rows])
