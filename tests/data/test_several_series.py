"""Windows over several series, and windows that are shorter where a series has just begun."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gru_parallel.data.parts import SeriesPart
from gru_parallel.data.window_ends import window_ends
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.data.windows import WindowDataset
from gru_parallel.errors import UsageError

# Two series, of 6 and 5 rows; each row holds its number, from 1 so that no row looks like padding.
ROWS = np.arange(1.0, 12.0)[:, None]
PARTS = [SeriesPart(range(6), 0, "a"), SeriesPart(range(6, 11), 6, "b")]


def dataset_of(shape: WindowShape, **options: object) -> WindowDataset:
    return WindowDataset(ROWS, [0], PARTS, shape, **{"centre": "none", **options})


def rows_of(tensor: torch.Tensor) -> list[list[int]]:
    return tensor[:, :, 0].int().tolist()


def test_no_window_reaches_from_one_series_into_another() -> None:
    batch = dataset_of(WindowShape(3, 1)).__getitems__(range(5))
    assert rows_of(batch["x"]) == [[1, 2, 3], [2, 3, 4], [3, 4, 5], [7, 8, 9], [8, 9, 10]]
    assert rows_of(batch["y"]) == [[4], [5], [6], [10], [11]]
    assert set(batch) == {"x", "y", "anchor"}


def test_short_windows_are_filled_up_with_zeros_behind_their_last_row() -> None:
    batch = dataset_of(WindowShape(4, 2, min_input_length=2)).__getitems__(range(5))
    assert rows_of(batch["x"]) == [
        [1, 2, 0, 0],
        [1, 2, 3, 0],
        [1, 2, 3, 4],
        [7, 8, 0, 0],
        [7, 8, 9, 0],
    ]
    assert rows_of(batch["y"]) == [[3, 4], [4, 5], [5, 6], [9, 10], [10, 11]]
    assert batch["lengths"].tolist() == [2, 3, 4, 2, 3]
    assert batch["lengths"].dtype == torch.int64
    assert batch["x"].dtype == batch["y"].dtype == torch.float32


def test_a_batch_is_as_long_as_its_longest_window() -> None:
    dataset = dataset_of(WindowShape(4, 2, min_input_length=2))
    assert rows_of(dataset.__getitems__([3, 4])["x"]) == [[7, 8, 0], [7, 8, 9]]
    assert rows_of(dataset.__getitems__([0])["x"]) == [[1, 2]]
    assert dataset[0]["x"].shape == (2, 1)


def test_at_every_step_the_targets_are_filled_up_too() -> None:
    shape = WindowShape(3, 2, "every_step", min_input_length=1)
    batch = dataset_of(shape).__getitems__([0, 1, 2, 3])
    assert rows_of(batch["x"]) == [[1, 0, 0], [1, 2, 0], [1, 2, 3], [2, 3, 4]]
    assert rows_of(batch["y"]) == [[3, 0, 0], [3, 4, 0], [3, 4, 5], [4, 5, 6]]
    assert batch["anchor"].tolist() == [[[0]]] * 4


def test_centring_takes_the_last_real_row() -> None:
    batch = dataset_of(WindowShape(3, 1, min_input_length=1), centre="last").__getitems__([0, 1, 2])
    assert rows_of(batch["x"]) == [[0, 0, 0], [-1, 0, 0], [-2, -1, 0]]
    assert batch["anchor"].flatten().tolist() == [1, 2, 3]
    assert rows_of(batch["y"] + batch["anchor"]) == [[2], [3], [4]]


def test_a_series_shorter_than_a_window_still_gives_short_ones() -> None:
    dataset = dataset_of(WindowShape(100, 1, min_input_length=4))
    assert dataset.__getitems__(range(len(dataset)))["lengths"].tolist() == [4, 5, 4]


def test_where_all_windows_must_be_whole_a_batch_has_no_lengths() -> None:
    assert "lengths" not in dataset_of(WindowShape(3, 1, min_input_length=3))[0]


@given(
    series_lengths=st.lists(st.integers(10, 30), min_size=1, max_size=4),
    cut=st.floats(0.2, 0.8),
    length=st.integers(1, 6),
    shortest=st.integers(1, 6),
    horizon=st.integers(1, 3),
    task=st.sampled_from(["window", "every_step"]),
    look_back=st.booleans(),
)
def test_windows_are_those_that_a_search_row_by_row_finds(
    series_lengths: list[int],
    cut: float,
    length: int,
    shortest: int,
    horizon: int,
    task: str,
    look_back: bool,
) -> None:
    shape = WindowShape(length, horizon, task, min(shortest, length))
    values = np.arange(1.0, sum(series_lengths) + 1)[:, None]
    parts, expected, start = [], [], 0
    for n_rows in series_lengths:
        part = range(start + int(n_rows * cut), start + n_rows)
        parts.append(SeriesPart(part, start, "series"))
        oldest = start if look_back else part.start
        for end in range(oldest + shape.shortest, part.stop):
            inputs = list(range(max(oldest, end - length), end))
            ahead = range(end, end + horizon)
            targets = list(ahead) if task == "window" else [row + horizon for row in inputs]
            if all(row in part for row in targets):
                expected.append((inputs, targets))
        start += n_rows
    try:
        dataset = WindowDataset(values, [0], parts, shape, look_back=look_back, centre="none")
    except UsageError:
        return
    batch = dataset.__getitems__(range(len(dataset)))
    assert len(dataset) == len(expected)
    for i, (inputs, targets) in enumerate(expected):
        n_padded = batch["x"].shape[1] - len(inputs)
        padding = [0] * n_padded
        assert batch["x"][i, :, 0].int().tolist() == [row + 1 for row in inputs] + padding
        if task == "window":
            padding = []
        assert batch["y"][i, :, 0].int().tolist() == [row + 1 for row in targets] + padding
        if shape.may_be_short:
            assert batch["lengths"][i] == len(inputs)


def test_a_series_too_short_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        window_ends(WindowShape(6, 2), SeriesPart(range(20, 27), 20, "b"), "training")
    assert str(caught.value) == (
        "The training part of series 'b' has 7 rows, but a window of data.input_length=6 and "
        "data.horizon=2 needs 8; use smaller ones, change data.split, or leave the series out."
    )
    with pytest.raises(UsageError, match=r"a window of data\.min_input_length=5 and data\.horizon"):
        window_ends(WindowShape(6, 3, min_input_length=5), SeriesPart(range(7), 0, "b"), "test")


@pytest.mark.parametrize("n", [0, -1, 2.5])
def test_a_least_length_that_is_no_size_is_refused(n: object) -> None:
    with pytest.raises(UsageError, match=rf"data\.min_input_length={n} is not a size; use a whole"):
        WindowShape(4, 2, min_input_length=n)


def test_a_least_length_above_the_length_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        WindowShape(4, 2, min_input_length=5)
    assert str(caught.value) == (
        "data.min_input_length=5 exceeds data.input_length=4; use data.min_input_length <= 4, or "
        "null."
    )
