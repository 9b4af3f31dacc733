"""The extent of a window, checked: how many rows go in, and which ones are forecast."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gru_parallel.errors import UsageError

TASKS = ("window", "every_step")
CENTRES = ("last", "none")


@dataclass(frozen=True)
class WindowShape:
    """The extent of a window.

    Attributes:
        input_length: rows that go in.
        horizon: rows ahead that are forecast.
        task: "window" forecasts the `horizon` rows after the window; "every_step" forecasts, at
            each of its rows, the one row that lies `horizon` rows ahead.
        min_input_length: rows that have to go in where a series has just begun, and has no
            `input_length` rows yet; None asks for all of them.
    """

    input_length: int
    horizon: int
    task: str = "window"
    min_input_length: int | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that make no window."""
        require_positive("data.input_length", self.input_length)
        require_positive("data.horizon", self.horizon)
        if self.task not in TASKS:
            raise UsageError(f"model.head={self.task} is unknown; use one of {', '.join(TASKS)}.")
        if self.min_input_length is None:
            return
        require_positive("data.min_input_length", self.min_input_length)
        if self.min_input_length > self.input_length:
            raise UsageError(
                f"data.min_input_length={self.min_input_length} exceeds data.input_length="
                f"{self.input_length}; use data.min_input_length <= {self.input_length}, or null."
            )

    @property
    def shortest(self) -> int:
        """Rows that go in at least."""
        return self.min_input_length or self.input_length

    @property
    def may_be_short(self) -> bool:
        """Whether a window may have fewer than `input_length` rows."""
        return self.shortest < self.input_length

    @property
    def n_target_steps(self) -> int:
        """Number of target rows of a window; of a whole one, where some may be short."""
        return self.horizon if self.task == "window" else self.input_length

    @property
    def leads(self) -> Tensor:
        """Rows between each target and the newest input it may use.

        Of shape `(horizon,)`, or `(1,)` with the task "every_step", where all targets have the
        same.
        """
        if self.task == "window":
            return torch.arange(1, self.horizon + 1)
        return torch.tensor([self.horizon])

    def first_end(self, part_start: int, oldest_input: int) -> int:
        """Where the first window ends that reaches neither back too far nor out of its part.

        Args:
            part_start: first row that may be a target.
            oldest_input: first row that may be an input.

        Returns:
            The row after the window's last input.
        """
        if self.task == "window":
            return max(part_start, oldest_input + self.shortest)
        if oldest_input + self.horizon >= part_start:
            return oldest_input + self.shortest
        # Short windows begin where the series does, and their first target lies before the part.
        return part_start - self.horizon + self.input_length


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
