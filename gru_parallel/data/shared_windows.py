"""The windows of a part for a loader, which fetches one share of each batch of them."""

from collections.abc import Sequence

from torch.utils.data import Dataset

from gru_parallel.data.share import Share
from gru_parallel.data.windows import Batch, WindowDataset


class SharedWindows(Dataset[Batch]):
    """The windows of a part, of which one share of each batch is fetched.

    The samplers of all replicas draw the same batches, and their loaders count the same number.

    Attributes:
        windows: all windows of the part.
        share: which of each batch are fetched.
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
        self.share = share
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
