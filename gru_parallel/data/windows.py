"""The windows of one part of the series as tensors: inputs, targets, lengths."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from gru_parallel.data.centre import level_of
from gru_parallel.data.parts import SeriesPart
from gru_parallel.data.standardize import Standardizer
from gru_parallel.data.units import in_units
from gru_parallel.data.window_ends import oldest_input, window_ends
from gru_parallel.data.window_shape import WindowShape, check_centre

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class WindowRows:
    """The rows of some windows; row numbers count through all series.

    A window that is shorter than the longest of them repeats its last row number.

    Attributes:
        inputs: shape `(windows, longest)`; `(0, input_length)` if there are no windows.
        targets: shape `(windows, horizon)`, or `(windows, longest)` with the task "every_step".
        ends: the row after each window's last input, shape `(windows, 1)`.
        lengths: number of input rows of each window, shape `(windows, 1)`.
        series_starts: first row of each window's series, shape `(windows, 1)`.
    """

    inputs: Tensor
    targets: Tensor
    ends: Tensor
    lengths: Tensor
    series_starts: Tensor

    @property
    def is_padding(self) -> Tensor:
        """Whether an input only repeats the window's last row, shape `(windows, longest)`."""
        return torch.arange(self.inputs.shape[1]) >= self.lengths


class WindowDataset(Dataset[Batch]):
    """The windows of one part of one or more standardised series.

    Each window is a dict of `x`, array of shape `(its length, columns)`, `y`, of shape
    `(n_target_steps, targets)`, and `anchor`, of float64 and shape `(1, targets)`: what centring
    subtracted from `y`. If windows are standardised, `scale`, of the same shape, is what
    predictions are multiplied by before they are compared with `y`. Where windows may be shorter
    than `input_length`, `lengths` is the number of real rows; fetched together, short ones are
    padded with zeros after their last row.

    What is known ahead is the last columns of `x`, which are not centred, and `future`, of shape
    `(horizon, n_known)`, continues them. What describes the series of a window is `static`, of
    shape `(n_static,)`. How much each target row counts in the loss is `weight`, of shape
    `(n_target_steps,)`.
    """

    def __init__(
        self,
        values: NDArray[np.floating],
        target_columns: Sequence[int],
        parts: Sequence[SeriesPart],
        shape: WindowShape,
        *,
        stride: int = 1,
        look_back: bool = True,
        centre: str = "last",
        known: NDArray[np.floating] | None = None,
        static: Sequence[NDArray[np.floating]] = (),
        weight: NDArray[np.floating] | None = None,
        part_name: str = "training",
        standardizer: Standardizer | None = None,
        naive_errors: Sequence[NDArray[np.float64]] | None = None,
    ) -> None:
        """Cut the windows.

        Args:
            values: all series, one after another, array of shape `(rows, columns)`.
            target_columns: positions of the columns to forecast.
            parts: rows of this part in each of its series; of none, there are no windows.
            shape: extent of a window.
            stride: rows from one window to the next.
            look_back: whether inputs may be in the part before.
            centre: "last" subtracts the window's last row from inputs and targets, so that the net
                sees no level; "standardize" subtracts the window's mean, and divides inputs by its
                deviation; "scale" divides inputs by 1 and their mean absolute value, and subtracts
                nothing; nor does "none", and the anchor is 0.
            known: what is known ahead of each row, array of shape `(rows, n_known)`; None for
                nothing.
            static: what describes each series of the part, arrays of shape `(n_static,)`; empty
                for nothing.
            weight: of each row, array of shape `(rows,)`; None where all count alike.
            part_name: its name for an error.
            standardizer: that has standardised the values; None where they are in their units.
            naive_errors: of each of its series, the mean absolute error of the naive forecast for
                each target, see `naive_error`; a window has it as `naive_error`, by which errors
                are scaled. None for none.

        Raises:
            UsageError: the part is too short, or an option is unknown or contradicts the task.
        """
        check_centre(centre, shape.task)
        ends = [window_ends(shape, part, part_name, stride, look_back) for part in parts]
        self.shape = shape
        self.stride = stride
        self.is_single_series = [part.series for part in parts] == [""]
        n_windows = [len(of_series) for of_series in ends]
        self.n_windows_by_series = torch.tensor(n_windows, dtype=torch.long)
        # In float64 until a window is centred: a float32 has no digits for what is left then.
        self._values = torch.as_tensor(values, dtype=torch.float64)
        is_all = list(target_columns) == list(range(values.shape[1]))
        self.target_values = self._values if is_all else self._values[:, list(target_columns)]
        has_known = known is not None and known.shape[1] > 0
        self._known = torch.as_tensor(known, dtype=torch.float32) if has_known else None
        self._weight = None if weight is None else torch.as_tensor(weight, dtype=torch.float32)
        self._static = None
        if any(len(of_series) for of_series in static):
            by_series = torch.tensor(np.stack(static), dtype=torch.float32)
            self._static = by_series.repeat_interleave(self.n_windows_by_series, dim=0)
        self._target_columns = list(target_columns)
        self._standardizer = standardizer
        self._centre = centre
        rows = [torch.arange(of_series.start, of_series.stop, stride) for of_series in ends]
        self._ends = torch.cat([torch.zeros(0, dtype=torch.long), *rows])
        oldest = self._by_window([oldest_input(part, look_back) for part in parts])
        self._lengths = (self._ends - oldest).clamp(max=shape.input_length)
        self._series_starts = self._by_window([part.series_start for part in parts])
        self._naive_errors: Tensor | None = None
        if naive_errors is not None:
            errors = np.array(naive_errors).reshape(len(parts), 1, len(target_columns))
            of_each = torch.as_tensor(errors, dtype=torch.float32)
            self._naive_errors = of_each.repeat_interleave(self.n_windows_by_series, 0)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._ends)

    def __getitem__(self, index: int) -> Batch:
        """One window, without a batch dimension."""
        return {name: tensor[0] for name, tensor in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int] | Tensor) -> Batch:
        """Several windows, stacked along a batch dimension that comes first."""
        rows = self.rows_of(indices)
        x = self._values[rows.inputs]
        y = self.target_values[rows.targets]
        level = level_of(x, rows.lengths, self._centre)
        beside = level.of_columns(self._target_columns)
        if self._naive_errors is not None:
            beside["naive_error"] = self.naive_errors(torch.as_tensor(indices).long())
        level.remove_from(x)
        x, y = x.float(), (y - beside["anchor"]).float()
        if self._known is not None:
            x = torch.cat([x, self._known[rows.inputs]], dim=2)
            following = rows.ends + torch.arange(self.shape.horizon)
            beside["future"] = self._known[following]
        if self._weight is not None:
            beside["weight"] = self._weight[rows.targets]
        if self._static is not None:
            beside["static"] = self._static[torch.as_tensor(indices, dtype=torch.long)]
        if not self.shape.may_be_short:
            return {"x": x, "y": y, **beside}
        is_padding = rows.is_padding.unsqueeze(2)
        x = x.masked_fill(is_padding, 0.0)
        if self.shape.task == "every_step":
            y = y.masked_fill(is_padding, 0.0)
        return {"x": x, "y": y, **beside, "lengths": rows.lengths.squeeze(1)}

    def in_units(self, values: Tensor) -> Tensor:
        """Convert standardised values of the targets to the units of the series."""
        if self._standardizer is None:
            return values
        return in_units(values, self._standardizer, self._target_columns)

    def naive_errors(self, indices: Tensor) -> Tensor:
        """Return the `naive_error` of some windows, shape `(windows, 1, targets)`; NaN for none."""
        if self._naive_errors is None:
            return torch.full((len(indices), 1, len(self._target_columns)), torch.nan)
        return self._naive_errors[indices]

    def rows_of(self, indices: Sequence[int] | Tensor) -> WindowRows:
        """Return the rows of some windows, in the order of `indices`.

        Args:
            indices: the windows, counted from 0; negative ones count from the end.

        Raises:
            IndexError: there is no such window.
        """
        chosen = torch.as_tensor(indices, dtype=torch.long)
        if len(chosen) and not -len(self) <= int(chosen.min()) <= int(chosen.max()) < len(self):
            raise IndexError(f"{list(indices)} are not all windows; there are {len(self)}")
        ends = self._ends[chosen].unsqueeze(1)
        lengths = self._lengths[chosen].unsqueeze(1)
        longest = int(lengths.max()) if len(chosen) else self.shape.input_length
        inputs = torch.minimum(ends - lengths + torch.arange(longest), ends - 1)
        if self.shape.task == "window":
            targets = ends + torch.arange(self.shape.horizon)
        else:
            targets = inputs + self.shape.horizon
        series_starts = self._series_starts[chosen].unsqueeze(1)
        return WindowRows(inputs, targets, ends, lengths, series_starts)

    def _by_window(self, by_series: Sequence[int]) -> Tensor:
        return torch.tensor(by_series, dtype=torch.long).repeat_interleave(self.n_windows_by_series)
