import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from gru_parallel.data.parts import SeriesPart
from gru_parallel.data.split import split
from gru_parallel.data.window_ends import window_ends
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.data.windows import WindowDataset
from gru_parallel.errors import UsageError

# Column 0 holds the number of each row, column 1 a hundred times as much.
ROWS = np.arange(40.0)[:, None] * np.array([1.0, 100.0])


def dataset_of(part: range, shape: WindowShape, **options: object) -> WindowDataset:
    options = {"centre": "none", **options}
    return WindowDataset(ROWS, [0], [SeriesPart(part)], shape, **options)


def rows_of(tensor: torch.Tensor) -> list[int]:
    return tensor[:, 0].int().tolist()


def test_a_window_is_followed_by_its_targets() -> None:
    dataset = dataset_of(range(10), WindowShape(input_length=4, horizon=2))
    assert len(dataset) == 5
    window = dataset[0]
    assert rows_of(window["x"]) == [0, 1, 2, 3]
    assert rows_of(window["y"]) == [4, 5]
    assert rows_of(dataset[4]["y"]) == [8, 9]


def test_every_step_gets_the_value_a_horizon_ahead_of_it() -> None:
    dataset = dataset_of(range(10), WindowShape(4, 2, task="every_step"))
    window = dataset[0]
    assert rows_of(window["x"]) == [0, 1, 2, 3]
    assert rows_of(window["y"]) == [2, 3, 4, 5]
    assert rows_of(dataset[len(dataset) - 1]["y"])[-1] == 9


def test_a_validation_window_may_look_back() -> None:
    dataset = dataset_of(range(10, 20), WindowShape(4, 2))
    assert len(dataset) == 9
    assert rows_of(dataset[0]["x"]) == [6, 7, 8, 9]
    assert rows_of(dataset[0]["y"]) == [10, 11]


def test_without_look_back_a_window_stays_in_its_part() -> None:
    dataset = dataset_of(range(10, 20), WindowShape(4, 2), look_back=False)
    assert len(dataset) == 5
    assert rows_of(dataset[0]["x"]) == [10, 11, 12, 13]


def test_stride_skips_windows() -> None:
    dataset = dataset_of(range(10), WindowShape(4, 2), stride=3)
    assert [rows_of(dataset[i]["x"])[0] for i in range(len(dataset))] == [0, 3]


def test_centring_takes_the_last_row_from_inputs_and_targets() -> None:
    dataset = dataset_of(range(10), WindowShape(4, 2), centre="last")
    window = dataset[1]
    assert window["x"].tolist() == [[-3, -300], [-2, -200], [-1, -100], [0, 0]]
    assert window["y"].tolist() == [[1], [2]]
    assert window["anchor"].tolist() == [[4]]
    assert (window["y"] + window["anchor"]).tolist() == [[5], [6]]


@pytest.mark.parametrize("centre", ["last", "standardize"])
def test_a_centred_window_of_a_high_level_keeps_its_digits(centre: str) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 2))
    parts, shape = [SeriesPart(range(40))], WindowShape(4, 2)
    low, high = (
        WindowDataset(rows + level, [0], parts, shape, centre=centre)[5] for level in (0.0, 1e9)
    )
    for name in ("x", "y"):
        assert high[name].dtype == torch.float32
        assert float((high[name] - low[name]).abs().max()) <= 1e-5
    assert float((high["anchor"] - low["anchor"] - 1e9).abs().max()) <= 1e-5


def test_the_anchor_is_zero_without_centring() -> None:
    assert dataset_of(range(10), WindowShape(4, 2))[3]["anchor"].tolist() == [[0]]


def test_targets_come_in_their_own_order() -> None:
    part = SeriesPart(range(10))
    dataset = WindowDataset(ROWS, [1, 0], [part], WindowShape(4, 1), centre="last")
    assert dataset[0]["y"].tolist() == [[100, 1]]
    assert dataset[0]["anchor"].tolist() == [[300, 3]]


@pytest.mark.parametrize("centre", ["last", "standardize", "none"])
def test_windows_fetched_together_equal_windows_fetched_one_by_one(centre: str) -> None:
    dataset = dataset_of(range(20), WindowShape(4, 2), centre=centre)
    together = dataset.__getitems__([5, 0, 7])
    assert {name: tuple(tensor.shape) for name, tensor in together.items()} == {
        "x": (3, 4, 2),
        "y": (3, 2, 1),
        "anchor": (3, 1, 1),
        **({"scale": (3, 1, 1)} if centre == "standardize" else {}),
    }
    for row, index in enumerate([5, 0, 7]):
        for name, tensor in dataset[index].items():
            assert torch.equal(together[name][row], tensor)
            assert tensor.dtype == (torch.float64 if name == "anchor" else torch.float32)


def test_a_window_beyond_the_end_does_not_exist() -> None:
    dataset = dataset_of(range(10), WindowShape(4, 2))
    with pytest.raises(IndexError, match=r"\[5\] are not all windows; there are 5"):
        dataset[5]
    assert torch.equal(dataset[-1]["x"], dataset[4]["x"])


@given(
    n_rows=st.integers(3, 60),
    fractions=st.tuples(*[st.floats(0.1, 0.5)] * 3),
    input_length=st.integers(1, 12),
    horizon=st.integers(1, 12),
    task=st.sampled_from(["window", "every_step"]),
    look_back=st.booleans(),
    stride=st.integers(1, 4),
)
def test_no_window_leaks_across_the_split(
    n_rows: int,
    fractions: tuple[float, float, float],
    input_length: int,
    horizon: int,
    task: str,
    look_back: bool,
    stride: int,
) -> None:
    assume(sum(fractions) <= 1)
    parts = split(n_rows, fractions)
    shape = WindowShape(input_length, horizon, task)
    rows = np.arange(float(n_rows))[:, None]
    for part in parts.values():
        try:
            dataset = WindowDataset(
                rows,
                [0],
                [SeriesPart(part)],
                shape,
                stride=stride,
                look_back=look_back,
                centre="none",
            )
        except UsageError:
            # Rightly refused only if no end leaves room for all the rows that a window takes.
            assert not any(_fits(shape, end, part, look_back) for end in range(n_rows + 1))
            continue
        batch = dataset.__getitems__(range(len(dataset)))
        x, y = batch["x"][..., 0], batch["y"][..., 0]
        assert part.start <= y.min()
        assert y.max() < part.stop
        assert (0 if look_back else part.start) <= x.min()
        assert x.max() < part.stop
        # The newest input lies before the newest target, and each target a fixed lead after input.
        assert (y[:, -1] - x[:, -1] == horizon).all()
        ends = {int(end) for end in x[:, -1] + 1}
        possible = [e for e in range(n_rows + 1) if _fits(shape, e, part, look_back)]
        assert ends == set(possible[::stride])


def _fits(shape: WindowShape, end: int, part: range, look_back: bool) -> bool:
    oldest = 0 if look_back else part.start
    first_target = end if shape.task == "window" else end - shape.input_length + shape.horizon
    return (
        end - shape.input_length >= oldest
        and first_target >= part.start
        and end + shape.horizon <= part.stop
    )


@pytest.mark.parametrize(
    ("part", "name", "look_back", "n_needed"),
    [
        (range(100), "training", True, 120),
        (range(100, 120), "validation", True, 24),
        (range(100, 120), "test", False, 120),
    ],
)
def test_a_part_too_short_for_one_window_is_refused(
    part: range, name: str, look_back: bool, n_needed: int
) -> None:
    with pytest.raises(UsageError) as caught:
        window_ends(WindowShape(96, 24), SeriesPart(part), name, look_back=look_back)
    assert str(caught.value) == (
        f"The {name} part has {len(part)} rows, but a window of data.input_length=96 and "
        f"data.horizon=24 needs {n_needed}; use smaller ones, or change data.split."
    )
    enough = SeriesPart(range(part.start, part.start + n_needed))
    assert len(window_ends(WindowShape(96, 24), enough, name, look_back=look_back)) == 1


def test_each_size_is_checked_under_its_own_name() -> None:
    with pytest.raises(UsageError, match=r"data\.input_length=0 is not a size"):
        WindowShape(0, 1)
    with pytest.raises(UsageError, match=r"data\.horizon=-1 is not a size"):
        WindowShape(1, -1)
    with pytest.raises(UsageError, match=r"data\.stride=0 is not a size"):
        dataset_of(range(10), WindowShape(4, 2), stride=0)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        WindowShape(4, 2, task="steps")
    assert str(caught.value) == "model.head=steps is unknown; use one of window, every_step."


def test_an_unknown_way_to_centre_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        dataset_of(range(10), WindowShape(4, 2), centre="mean")
    choices = "last, standardize, scale, none"
    assert str(caught.value) == f"data.centre=mean is unknown; use one of {choices}."


def test_centring_is_refused_where_it_would_show_what_is_to_be_forecast() -> None:
    with pytest.raises(UsageError) as caught:
        dataset_of(range(10), WindowShape(4, 2, task="every_step"), centre="last")
    assert str(caught.value) == (
        "data.centre=last would show every step the window's last row, which is still ahead of it "
        "with model.head=every_step; use data.centre=none."
    )
