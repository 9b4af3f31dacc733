"""The extent of a window: how many rows are input, and which ones are forecast."""

from dataclasses import dataclass

from gru_parallel.choices import CENTRES
from gru_parallel.errors import UsageError, check_positive

TASKS = ("window", "every_step")


@dataclass(frozen=True)
class WindowShape:
    """The extent of a window.

    Attributes:
        input_length: number of input rows.
        horizon: rows ahead that are forecast.
        task: "window" forecasts the `horizon` rows after the window; "every_step" forecasts, at
            each of its rows, the one row that is `horizon` rows ahead.
        min_input_length: number of input rows at least, where a series has only just begun; None
            for `input_length`.
    """

    input_length: int
    horizon: int
    task: str = "window"
    min_input_length: int | None = None

    def __post_init__(self) -> None:
        """Check the sizes."""
        check_positive("data.input_length", self.input_length)
        check_positive("data.horizon", self.horizon)
        if self.task not in TASKS:
            raise UsageError(f"model.head={self.task} is unknown; use one of {', '.join(TASKS)}.")
        if self.min_input_length is None:
            return
        check_positive("data.min_input_length", self.min_input_length)
        if self.min_input_length > self.input_length:
            raise UsageError(
                f"data.min_input_length={self.min_input_length} exceeds data.input_length="
                f"{self.input_length}; use data.min_input_length <= {self.input_length}, or null."
            )

    @property
    def shortest(self) -> int:
        """Number of input rows of the shortest window."""
        return self.min_input_length or self.input_length

    @property
    def may_be_short(self) -> bool:
        """Whether a window may have fewer than `input_length` rows."""
        return self.shortest < self.input_length

    @property
    def n_target_steps(self) -> int:
        """Number of target rows of a window of full length."""
        return self.horizon if self.task == "window" else self.input_length

    def first_end(self, part_start: int, oldest_input: int) -> int:
        """The row after the last input of the first window that is possible.

        Args:
            part_start: first row that may be a target.
            oldest_input: first row that may be an input.
        """
        if self.task == "window":
            return max(part_start, oldest_input + self.shortest)
        if oldest_input + self.horizon >= part_start:
            return oldest_input + self.shortest
        # Short windows begin where the series does, and their first target is before the part.
        return part_start - self.horizon + self.input_length


def check_centre(centre: str, task: str) -> None:
    """Raise a UsageError if the centring is unknown, or would show what is to be forecast."""
    if centre not in CENTRES:
        raise UsageError(f"data.centre={centre} is unknown; use one of {', '.join(CENTRES)}.")
    if centre != "none" and task == "every_step":
        shown = "last row, which is" if centre == "last" else "mean, of rows which are"
        raise UsageError(
            f"data.centre={centre} would show every step the window's {shown} still ahead of it"
            " with model.head=every_step; use data.centre=none."
        )
