"""Segments: how truncated back-propagation through time divides the chunks of a window."""

from dataclasses import dataclass
from functools import cache, cached_property


@dataclass(frozen=True)
class Segments:
    """Consecutive chunks within which dL/dh flows; it does not flow from one segment to another.

    Attributes:
        n_chunks: number of chunks of the whole window, at least 1.
        truncate: number of chunks of a segment, at least 1; the last segment may have fewer. None
            for one segment of all chunks.
    """

    n_chunks: int
    truncate: int | None = None

    @property
    def size(self) -> int:
        """Number of chunks of each segment but the last, which may have fewer."""
        return self.n_chunks if self.truncate is None else min(self.truncate, self.n_chunks)

    @property
    def n_segments(self) -> int:
        """The number of segments."""
        return -(-self.n_chunks // self.size)

    def of(self, chunk: int) -> int:
        """The segment that holds a chunk."""
        return chunk // self.size

    def begins(self, chunk: int) -> bool:
        """Whether a segment begins with this chunk: dL/dh ends here."""
        return chunk % self.size == 0

    @cached_property
    def first_chunks(self) -> frozenset[int]:
        """The chunks with which a segment begins."""
        return frozenset(filter(self.begins, range(self.n_chunks)))

    @cached_property
    def backward_order(self) -> tuple[int, ...]:
        """All chunks in the order of B: segments ascend, and the chunks of each descend."""
        return tuple(sorted(range(self.n_chunks), key=lambda chunk: (self.of(chunk), -chunk)))


@cache
def segments_of(n_chunks: int, truncate: int | None) -> Segments:
    """Return the segments of a window; those of one window are worked out once."""
    return Segments(n_chunks, truncate)
