import pytest

from gru_parallel.schedule import Segments


@pytest.mark.parametrize(
    ("n_chunks", "truncate", "chunks_of_segments"),
    [
        (1, None, [[0]]),
        (4, None, [[0, 1, 2, 3]]),
        (4, 1, [[0], [1], [2], [3]]),
        (5, 2, [[0, 1], [2, 3], [4]]),
        (3, 3, [[0, 1, 2]]),
        (3, 7, [[0, 1, 2]]),
    ],
)
def test_every_segment_has_its_chunks_and_the_last_one_may_be_short(
    n_chunks: int, truncate: int | None, chunks_of_segments: list[list[int]]
) -> None:
    segments = Segments(n_chunks, truncate)
    assert segments.n_segments == len(chunks_of_segments)
    for segment, chunks in enumerate(chunks_of_segments):
        assert [segments.of(chunk) for chunk in chunks] == [segment] * len(chunks)
        assert [segments.begins(chunk) for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
    assert segments.first_chunks == {chunks[0] for chunks in chunks_of_segments}
    backward = [chunk for chunks in chunks_of_segments for chunk in reversed(chunks)]
    assert list(segments.backward_order) == backward
