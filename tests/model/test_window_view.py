"""WindowView: which values come to which row and step, and back."""

import pytest
import torch

from gru_parallel.errors import ShapeError, UsageError
from gru_parallel.model import DecoderHead, Windows, WindowView
from gru_parallel.model.window_view import DIGITS, digits, numbers_of


def test_the_usual_view_leaves_windows_as_they_are() -> None:
    x = torch.randn(2, 6, 3)

    assert torch.equal(WindowView().rows_of(Windows(x)).x, x)


def test_a_segment_has_the_values_of_its_steps_in_their_order() -> None:
    x = torch.randn(2, 6, 3)

    rows = WindowView(2).rows_of(Windows(x)).x

    assert rows.shape == (2, 3, 6)
    assert torch.equal(rows[1, 2], torch.cat([x[1, 4], x[1, 5]]))


def test_each_channel_is_a_row_of_its_own_with_its_number_and_its_targets() -> None:
    x, y = torch.randn(2, 6, 3), torch.randn(2, 5, 3)
    view = WindowView(3, 3)

    scale = torch.rand(2, 1, 3)

    rows = view.rows_of(Windows(x, y, reset=torch.tensor([True, False]), scale=scale))

    assert rows.x.shape == (6, 2, 3 + DIGITS)
    assert torch.equal(rows.x[4, 1, :3], x[1, 3:, 1])
    assert numbers_of(rows.x[..., 3:])[:, 0].tolist() == [0, 1, 2, 0, 1, 2]
    assert rows.y is not None
    assert torch.equal(rows.y[4, :, 0], y[1, :, 1])
    assert rows.scale is not None
    assert rows.scale.flatten().tolist() == scale.flatten().tolist()
    assert rows.reset is not None
    assert rows.reset.tolist() == [True] * 3 + [False] * 3
    assert torch.equal(view.predictions_of(rows.y), y)


def test_steps_after_the_window_are_numbered_and_have_no_values() -> None:
    rows = WindowView(2).rows_of(Windows(torch.ones(2, 6, 3)), n_decoding=4).x

    assert rows.shape == (2, 7, 6 + DIGITS)
    assert rows[0, :, 0].tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert numbers_of(rows[..., 6:])[1].tolist() == [0, 0, 0, 1, 2, 3, 4]


def test_no_windows_make_no_rows_and_no_predictions() -> None:
    view = WindowView(2, 3)

    rows = view.rows_of(Windows(torch.zeros(0, 6, 3), torch.zeros(0, 5, 3)), n_decoding=1)

    assert rows.x.shape == (0, 4, 2 + 2 * DIGITS)
    assert view.predictions_of(torch.zeros(0, 5, 1)).shape == (0, 5, 3)


@pytest.mark.parametrize(
    ("n_channels", "windows", "rows"),
    [
        (None, slice(2, 5), slice(2, 5)),
        (3, slice(2, 5), slice(6, 15)),
        (3, slice(0, 0), slice(0, 0)),
        (3, slice(None), slice(None)),
    ],
)
def test_the_rows_of_windows_are_those_of_all_their_channels(
    n_channels: int | None, windows: slice, rows: slice
) -> None:
    assert WindowView(n_channels=n_channels).rows_of_windows(windows) == rows


def test_a_step_brings_what_is_known_of_it_and_of_the_step_a_horizon_later() -> None:
    x, future = torch.randn(2, 6, 5), torch.randn(2, 4, 2)

    rows = WindowView(3, n_known=2).rows_of(Windows(x, future=future))

    assert rows.future is None
    steps = rows.x[:, :, 9:].reshape(2, 6, 4)
    assert torch.equal(rows.x[:, :, :9].reshape(2, 6, 3), x[..., :3])
    assert torch.equal(steps[..., :2], x[..., 3:])
    assert torch.equal(steps[..., 2:], torch.cat([x[:, 4:, 3:], future], dim=1))


def test_what_comes_after_a_short_window_follows_its_own_last_step() -> None:
    x, future = torch.randn(3, 5, 3), torch.randn(3, 2, 1)
    lengths = torch.tensor([5, 4, 2])
    for row, length in enumerate(lengths):
        x[row, length:] = 0.0

    rows = WindowView(n_known=1).rows_of(Windows(x, lengths=lengths, future=future))

    for row, length in enumerate(lengths.tolist()):
        own = torch.cat([x[row, :length, 2:], future[row]])
        assert torch.equal(rows.x[row, :length, 2:], torch.cat([own[:length], own[2:]], dim=1))


@pytest.mark.parametrize("n_decoding", [0, 2])
def test_every_step_of_every_row_has_what_describes_its_series(n_decoding: int) -> None:
    x, static = torch.randn(2, 4, 3), torch.randn(2, 2)

    rows = WindowView(2, 3, n_static=2).rows_of(Windows(x, static=static), n_decoding)

    assert rows.static is None
    assert rows.x.shape[1] == 2 + n_decoding
    assert torch.equal(
        rows.x[..., 2:4], static.repeat_interleave(3, 0)[:, None].expand(-1, 2 + n_decoding, -1)
    )
    with pytest.raises(ShapeError, match=r"static has the shape None; give \(2, 2\)"):
        WindowView(n_static=2).rows_of(Windows(x))


@pytest.mark.parametrize("n_channels", [None, 3])
def test_steps_after_the_window_have_what_is_known_of_their_own_rows(
    n_channels: int | None,
) -> None:
    x, future = torch.randn(2, 4, 5), torch.randn(2, 5, 2)
    view = WindowView(2, n_channels, n_known=2)

    rows = view.rows_of(Windows(x, future=future), n_decoding=3).x

    n_values, n_rows = (2, 6) if n_channels else (6, 2)
    after = rows[:, 2:]
    assert rows.shape[:2] == (n_rows, 5)
    assert not after[:, :, :n_values].any()
    known = after[:, :, n_values : n_values + 4].reshape(n_rows, 6, 2)
    each = future.repeat_interleave(n_rows // 2, 0)
    assert torch.equal(known[:, :5], each)
    assert not known[:, 5].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_numbers_are_exact_in_every_type(dtype: torch.dtype) -> None:
    numbers = torch.arange(2**16)

    assert torch.equal(numbers_of(digits(numbers).to(dtype)), numbers)


@pytest.mark.parametrize(
    ("view", "windows", "words"),
    [
        (WindowView(4), Windows(torch.zeros(2, 6, 3)), "6 steps are no whole number of segments"),
        (WindowView(1, 4), Windows(torch.zeros(2, 6, 3)), "takes each of 4 channels by itself"),
        (
            WindowView(2),
            Windows(torch.zeros(2, 6, 3), lengths=torch.tensor([6, 4])),
            "not cut into segments",
        ),
        (
            WindowView(n_known=2),
            Windows(torch.zeros(2, 6, 3)),
            r"shape None, and the model takes 2",
        ),
        (
            WindowView(n_known=2),
            Windows(torch.zeros(2, 6, 3), future=torch.zeros(2, 4, 1)),
            r"shape \(2, 4, 1\).* give \(2, horizon, 2\)",
        ),
    ],
)
def test_windows_that_do_not_fit_are_refused(
    view: WindowView, windows: Windows, words: str
) -> None:
    with pytest.raises(ShapeError, match=words):
        view.rows_of(windows)


def test_more_channels_or_steps_than_can_be_numbered_are_refused() -> None:
    with pytest.raises(UsageError, match="numbers channels up to 65535, and there are 65536"):
        WindowView(1, 2**16)
    with pytest.raises(UsageError, match="steps after the window up to 65535"):
        DecoderHead(2, (2**16, 1))
