"""Cuts one part of a series into windows: what goes in, what should come out.

A window is named by its end t: its inputs are the rows [t - input_length, t), and what it forecasts
lies at or after row t (task "window") or `horizon` rows after each input row (task "every_step").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from gru_parallel.errors import UsageError

TASKS = ("window", "every_step")
CENTRES = ("last", "none")

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class WindowShape:
    """The extent of a window.

    Attributes:
        input_length: rows that go in.
        horizon: rows ahead that are forecast.
        task: "window" forecasts the `horizon` rows after the window; "every_step" forecasts, at
            each of its rows, the one row that lies `horizon` rows ahead.
    """

    input_length: int
    horizon: int
    task: str = "window"

    def __post_init__(self) -> None:
        """Refuse sizes that make no window."""
        require_positive("data.input_length", self.input_length)
        require_positive("data.horizon", self.horizon)
        if self.task not in TASKS:
            raise UsageError(f"model.head={self.task} is unknown; use one of {', '.join(TASKS)}.")

    @property
    def n_target_steps(self) -> int:
        """Number of target rows of a window."""
        return self.horizon if self.task == "window" else self.input_length

    @property
    def first_target(self) -> int:
        """Position of the first target row, counted from the window's end."""
        return 0 if self.task == "window" else self.horizon - self.input_length

    @property
    def leads(self) -> Tensor:
        """Rows between each target and the newest input it may use, shape `(n_target_steps,)`."""
        if self.task == "window":
            return torch.arange(1, self.horizon + 1)
        return torch.full((self.input_length,), self.horizon)


def window_ends(
    shape: WindowShape,
    part: range,
    part_name: str,
    stride: int = 1,
    look_back: bool = True,
) -> range:
    """The ends t of the windows of one part.

    Target rows never leave the part, and inputs never lie after it.

    Args:
        shape: extent of a window.
        part: rows of the part.
        part_name: what to call it in an error: training, validation or test.
        stride: rows from one window to the next.
        look_back: whether inputs may lie in the part before.

    Returns:
        The ends, at least one.

    Raises:
        UsageError: the part is too short for one window, or the stride is not positive.
    """
    require_positive("data.stride", stride)
    oldest_input = 0 if look_back else part.start
    first = max(part.start - shape.first_target, oldest_input + shape.input_length)
    ends = range(first, part.stop - shape.horizon + 1, stride)
    if not ends:
        raise UsageError(
            f"The {part_name} part has {len(part)} rows, but a window of data.input_length="
            f"{shape.input_length} and data.horizon={shape.horizon} needs "
            f"{first + shape.horizon - part.start}; use smaller ones, or change data.split."
        )
    return ends


class WindowDataset(Dataset[Batch]):
    """The windows of one part of a standardised series.

    Each window is a dict of `x`, array of shape `(input_length, columns)`, `y`, of shape
    `(n_target_steps, targets)`, and `anchor`, of shape `(1, targets)`: what centring took from `y`.
    """

    def __init__(
        self,
        values: NDArray[np.floating],
        target_columns: Sequence[int],
        part: range,
        shape: WindowShape,
        *,
        stride: int = 1,
        look_back: bool = True,
        centre: str = "last",
        part_name: str = "training",
    ) -> None:
        """Cut the windows.

        Args:
            values: the whole series, array of shape `(rows, columns)`.
            target_columns: positions of the columns to forecast.
            part: rows of this part.
            shape: extent of a window.
            stride: rows from one window to the next.
            look_back: whether inputs may lie in the part before.
            centre: "last" subtracts the window's last row from inputs and targets, so that the net
                sees no level; "none" leaves them alone and makes the anchor 0.
            part_name: what to call the part in an error.

        Raises:
            UsageError: the part is too short, or an option is unknown or at odds with the task.
        """
        check_centre(centre, shape.task)
        self.shape = shape
        self.ends = window_ends(shape, part, part_name, stride, look_back)
        self.target_values = torch.as_tensor(values[:, list(target_columns)], dtype=torch.float32)
        self._values = torch.as_tensor(values, dtype=torch.float32)
        self._is_centred = centre == "last"
        self._input_offsets = torch.arange(-shape.input_length, 0)
        self._target_offsets = torch.arange(shape.n_target_steps) + shape.first_target

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.ends)

    def __getitem__(self, index: int) -> Batch:
        """One window, without a batch dimension."""
        return {name: tensor[0] for name, tensor in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Many windows at once, stacked along a batch dimension that comes first."""
        ends = self.ends_of(indices)
        x = self._values[ends + self._input_offsets]
        y = self.target_values[self.target_rows(ends)]
        if not self._is_centred:
            return {"x": x, "y": y, "anchor": torch.zeros_like(y[:, :1])}
        anchor = self.target_values[ends - 1]
        return {"x": x - x[:, -1:], "y": y - anchor, "anchor": anchor}

    def ends_of(self, indices: Sequence[int]) -> Tensor:
        """The ends of some windows, shape `(windows, 1)`."""
        chosen = torch.as_tensor(indices, dtype=torch.long)
        if len(chosen) and not -len(self) <= int(chosen.min()) <= int(chosen.max()) < len(self):
            raise IndexError(f"a window of {list(indices)} is not one of the {len(self)} there are")
        return (self.ends.start + chosen % len(self) * self.ends.step).unsqueeze(1)

    def target_rows(self, ends: Tensor) -> Tensor:
        """The rows of the series that are the targets of the windows with these ends.

        Args:
            ends: shape `(windows, 1)`.

        Returns:
            Row numbers, shape `(windows, n_target_steps)`.
        """
        return ends + self._target_offsets


def check_centre(centre: str, task: str) -> None:
    """Refuse a way to centre that is unknown, or that would show the net what it must forecast.

    Raises:
        UsageError: see above.
    """
    if centre not in CENTRES:
        raise UsageError(f"data.centre={centre} is unknown; use one of {', '.join(CENTRES)}.")
    if centre == "last" and task == "every_step":
        raise UsageError(
            "data.centre=last would show every step the window's last row, which is still ahead of "
            "it with model.head=every_step; use data.centre=none."
        )


def require_positive(setting: str, value: object) -> None:
    """Refuse a size that is no whole number of at least 1.

    Raises:
        UsageError: see above.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{setting}={value} is not a size; use a whole number of at least 1.")
