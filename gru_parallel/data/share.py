"""Divides every batch among replicas: engine.data_parallel.

A share is one slice of rows for all batches, from `data.batch_size`: a state is carried along a row
from batch to batch, so a row has to stay with its replica. A smaller batch lacks the last rows, and
with them the last shares lack some or all of theirs:

    rows of a batch of 5     0  1  2  3  4
    2 replicas               a  a  a  b  b
    a last batch of 2        a  a           nothing for b
"""

from dataclasses import dataclass

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
