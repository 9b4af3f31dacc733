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
