from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gru_parallel.data.parts import SeriesPart
from gru_parallel.data.stream_batches import StreamBatches
from gru_parallel.data.streams import Streams
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.data.windows import Batch, WindowDataset
from gru_parallel.errors import UsageError


def windows_of(series_lengths: Sequence[int], shape: WindowShape, stride: int) -> WindowDataset:
    """Windows of series whose rows hold their own numbers."""
    ends = np.cumsum(series_lengths)
    parts = [
        SeriesPart(range(end - length, end), end - length, str(end))
        for length, end in zip(series_lengths, ends.tolist(), strict=True)
    ]
    rows = np.arange(float(ends[-1]))[:, None]
    return WindowDataset(rows, [0], parts, shape, stride=stride, centre="none")


def streams_of(windows: WindowDataset) -> Streams:
    return Streams.of(windows.n_windows_by_series.numpy(), windows.shape, windows.stride)


def epoch_of(batches: StreamBatches, epoch: int = 0) -> list[Batch]:
    return [batches[epoch * len(batches) + number] for number in range(len(batches))]


def first_rows(batches: list[Batch]) -> list[list[str]]:
    """The first input row of each window, with a star where the row is reset."""
    return [
        [
            f"{int(x[0, 0])}{'*' if reset else ''}"
            for x, reset in zip(b["x"], b["reset"], strict=True)
        ]
        for b in batches
    ]


def test_a_row_takes_the_next_stream_when_its_own_has_ended() -> None:
    # Three series, of 3, 2 and 2 windows of 4 rows each, and one row ahead.
    windows = windows_of([13, 9, 9], WindowShape(4, 1), stride=4)
    assert first_rows(epoch_of(StreamBatches(windows, batch_size=2))) == [
        ["13*", "0*"],
        ["17", "4"],
        ["22*", "8"],
        ["26"],
    ]


def test_with_a_smaller_stride_every_phase_is_a_stream() -> None:
    windows = windows_of([15], WindowShape(4, 1), stride=2)
    assert first_rows(epoch_of(StreamBatches(windows, batch_size=8))) == [
        ["0*", "2*"],
        ["4", "6"],
        ["8", "10"],
    ]


def test_a_single_stream_is_cut_to_fill_the_rows() -> None:
    windows = windows_of([37], WindowShape(4, 1), stride=4)
    assert first_rows(epoch_of(StreamBatches(windows, batch_size=3, n_filled=3))) == [
        ["0*", "12*", "24*"],
        ["4", "16", "28"],
        ["8", "20", "32"],
    ]


def test_several_streams_are_cut_where_rows_of_one_length_end() -> None:
    # Two series, of 3 and 6 windows, make 3 rows of 3 windows.
    windows = windows_of([13, 25], WindowShape(4, 1), stride=4)
    assert first_rows(epoch_of(StreamBatches(windows, batch_size=3, n_filled=3))) == [
        ["0*", "13*", "25*"],
        ["4", "17", "29"],
        ["8", "21", "33"],
    ]


def test_streams_that_fill_the_rows_are_not_cut() -> None:
    windows = windows_of([13, 25], WindowShape(4, 1), stride=4)
    streams = streams_of(windows)
    assert streams.cut(2) is streams


def test_no_row_is_filled_with_a_single_window() -> None:
    streams = streams_of(windows_of([21], WindowShape(4, 1), stride=4))
    assert streams.cut(5).n_windows.tolist() == [2, 3]


def test_no_more_rows_are_filled_than_a_batch_has() -> None:
    windows = windows_of([37], WindowShape(4, 1), stride=4)
    assert len(StreamBatches(windows, batch_size=2, n_filled=8)[0]["x"]) == 2


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    n_rows=st.integers(1, 60),
    step=st.integers(1, 3),
)
def test_cut_streams_hold_the_same_windows_in_pieces_no_longer_than_a_row(
    lengths: list[int], n_rows: int, step: int
) -> None:
    n_windows = np.array(lengths)
    streams = Streams(np.cumsum(n_windows * step) - n_windows * step, n_windows, step)
    pieces = streams.cut(n_rows)
    assert chained(pieces) == chained(streams)
    n_filled = min(n_rows, sum(lengths) // 2)
    if n_filled > len(lengths):
        assert len(pieces.first) < n_filled + len(lengths)
        assert pieces.n_windows.max() <= -(-sum(lengths) // n_filled)


def chained(streams: Streams) -> list[int]:
    return [
        first + window * streams.step
        for first, n in zip(streams.first.tolist(), streams.n_windows.tolist(), strict=True)
        for window in range(n)
    ]


@given(
    series_lengths=st.lists(st.integers(5, 60), min_size=1, max_size=4),
    stride=st.sampled_from([1, 2, 4]),
    batch_size=st.integers(1, 20),
)
def test_cut_streams_keep_the_rows_filled(
    series_lengths: list[int], stride: int, batch_size: int
) -> None:
    windows = windows_of(series_lengths, WindowShape(4, 1), stride)
    n_rows = min(batch_size, len(windows) // 2)
    if n_rows <= len(streams_of(windows).first):
        return
    batches = StreamBatches(windows, batch_size, n_filled=batch_size)
    assert len(batches[0]["x"]) >= n_rows
    # Rows of one length can be had; Graham bounds how much longer his rule makes the longest.
    assert len(batches) <= -(-len(windows) // n_rows) * 4 / 3


def test_short_windows_stand_at_the_beginning_of_a_stream() -> None:
    windows = windows_of([10], WindowShape(4, 1, min_input_length=2), stride=2)
    batches = epoch_of(StreamBatches(windows, batch_size=2))
    assert first_rows(batches) == [["0*", "0*"], ["2", "4"]]
    assert [b["lengths"].tolist() for b in batches] == [[2, 4], [4, 4]]


def test_a_batch_names_its_windows() -> None:
    windows = windows_of([13, 9], WindowShape(4, 2), stride=2)
    for batch in epoch_of(StreamBatches(windows, batch_size=3)):
        index = batch.pop("index")
        reset = batch.pop("reset")
        assert (index.dtype, reset.dtype) == (torch.int64, torch.bool)
        assert index.shape == reset.shape == (len(batch["x"]),)
        for name, tensor in windows.__getitems__(index.tolist()).items():
            assert torch.equal(batch[name], tensor)


@settings(max_examples=40)
@given(
    series_lengths=st.lists(st.integers(12, 60), min_size=1, max_size=6),
    n_strides=st.integers(1, 4),
    stride=st.integers(1, 3),
    horizon=st.integers(1, 3),
    shortest=st.none() | st.integers(1, 3),
    task=st.sampled_from(["window", "every_step"]),
    batch_size=st.integers(1, 9),
    seed=st.none() | st.integers(0, 3),
    epoch=st.integers(0, 2),
    n_filled=st.integers(1, 9),
)
def test_each_window_comes_once_and_each_row_goes_on_where_it_was(
    series_lengths: list[int],
    n_strides: int,
    stride: int,
    horizon: int,
    shortest: int | None,
    task: str,
    batch_size: int,
    seed: int | None,
    epoch: int,
    n_filled: int,
) -> None:
    length = n_strides * stride
    if shortest is not None:
        shortest = min(shortest, length)
    # The longest window takes 12 inputs and 3 rows ahead.
    lengths = [n + 3 for n in series_lengths]
    windows = windows_of(lengths, WindowShape(length, horizon, task, shortest), stride)
    batches = epoch_of(StreamBatches(windows, batch_size, seed, n_filled), epoch)

    seen = torch.cat([batch["index"] for batch in batches])
    assert sorted(seen.tolist()) == list(range(len(windows)))

    next_rows: list[int] = []
    series_of_rows: list[int] = []
    series_ends = np.cumsum(lengths)
    for batch in batches:
        n_inputs = batch.get("lengths", torch.full((len(batch["x"]),), length))
        starts = batch["x"][:, 0, 0].int().tolist()
        series = np.searchsorted(series_ends, starts, side="right").tolist()
        reset = batch["reset"].tolist()
        assert len(starts) <= batch_size
        assert all(reset[len(next_rows) :])
        for row, expected in enumerate(next_rows[: len(starts)]):
            if not reset[row]:
                assert starts[row] == expected
                assert series[row] == series_of_rows[row]
        next_rows = [start + int(n) for start, n in zip(starts, n_inputs, strict=True)]
        series_of_rows = series
    assert all(batches[0]["reset"])
    # Reset where no window of the part ends where this one begins, and where a stream was cut.
    n_whole = len(streams_of(windows).first)
    n_reset = int(sum(batch["reset"].sum() for batch in batches))
    assert n_whole <= n_reset < n_whole + n_filled
    ends = set(windows.rows_of(range(len(windows))).ends.flatten().tolist())
    for batch in batches:
        for start, reset in zip(batch["x"][:, 0, 0].int().tolist(), batch["reset"], strict=True):
            goes_on = start in ends and start not in {0, *series_ends.tolist()}
            assert reset or goes_on
            assert not (reset and goes_on) or n_reset > n_whole


@settings(max_examples=40)
@given(
    series_lengths=st.lists(st.integers(6, 40), min_size=1, max_size=8),
    batch_size=st.integers(1, 9),
)
def test_rows_stay_filled_while_streams_wait(series_lengths: list[int], batch_size: int) -> None:
    windows = windows_of(series_lengths, WindowShape(4, 1), stride=1)
    batches = epoch_of(StreamBatches(windows, batch_size, seed=1))
    sizes = [len(batch["x"]) for batch in batches]
    n_streams = int(sum(batch["reset"].sum() for batch in batches))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == min(batch_size, n_streams)
    # A row only ends for good when no stream is waiting: none is left over by the longest stream.
    longest = (max(series_lengths) - 4 - 1) // 4 + 1
    assert sizes.count(sizes[0]) >= len(sizes) - longest


def indices_of(batches: StreamBatches, epoch: int) -> list[list[int]]:
    return [batch["index"].tolist() for batch in epoch_of(batches, epoch)]


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    windows = windows_of([40, 30, 20], WindowShape(4, 1), stride=1)
    orders = {
        (seed, epoch): indices_of(StreamBatches(windows, 4, seed), epoch)
        for seed in range(3)
        for epoch in range(3)
    }
    assert len({str(order) for order in orders.values()}) == 9
    # The same for batches that are fetched in any order, as several workers fetch them.
    batches = StreamBatches(windows, 4, seed=2)
    n = len(batches)
    assert [batches[i]["index"].tolist() for i in (2 * n, 1, n)] == [
        orders[2, 2][0],
        orders[2, 0][1],
        orders[2, 1][0],
    ]


def test_every_epoch_has_batches_of_the_same_sizes() -> None:
    windows = windows_of([40, 30, 20, 11], WindowShape(4, 1), stride=2)
    batches = StreamBatches(windows, 3, seed=0)
    sizes = [[len(index) for index in indices_of(batches, epoch)] for epoch in range(4)]
    assert sizes == [sizes[0]] * 4


def test_without_a_seed_every_epoch_is_the_same() -> None:
    windows = windows_of([40, 30, 20], WindowShape(4, 1), stride=1)
    batches = StreamBatches(windows, 4)
    assert indices_of(batches, 0) == indices_of(batches, 1)


@pytest.mark.parametrize("stride", [3, 8])
def test_a_stride_with_which_no_window_follows_another_is_refused(stride: int) -> None:
    windows = windows_of([40], WindowShape(4, 1), stride)
    with pytest.raises(UsageError) as caught:
        StreamBatches(windows, 4)
    assert str(caught.value) == (
        f"data.stride={stride} does not divide data.input_length=4, so with data.order=streams no "
        "window would begin where another one ends; use a stride that divides it, data.stride=4 "
        "for each row once."
    )
