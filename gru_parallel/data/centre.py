"""What each window is relative to: its last row, its mean and deviation, its size, or nothing."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gru_parallel.choices import LEAST_VARIANCE


@dataclass(frozen=True)
class Level:
    """What is subtracted from windows, and what they are then divided by.

    Attributes:
        anchor: shape `(windows, 1, columns)`.
        scale: of the same shape; None for nothing.
    """

    anchor: Tensor
    scale: Tensor | None = None

    def remove_from(self, x: Tensor) -> None:
        """Bring values of all columns, `(windows, rows, columns)`, to the level 0, in place."""
        # Another tensor of this size may cost as much time as all else that makes a batch.
        x -= self.anchor
        if self.scale is not None:
            x /= self.scale

    def of_columns(self, columns: list[int]) -> dict[str, Tensor]:
        """Return what a batch has of it for some columns, `anchor` and, in float32, `scale`."""
        found = {"anchor": self.anchor[:, :, columns]}
        if self.scale is not None:
            found["scale"] = self.scale[:, :, columns].float()
        return found


def level_of(x: Tensor, lengths: Tensor, centre: str) -> Level:
    """Find the level of windows.

    Args:
        x: shape `(windows, rows, columns)`, of float64: float32 has no digits for the differences
            of a high level.
        lengths: rows of each that are its own, shape `(windows, 1)`.
        centre: "last" for the last row; "standardize" for mean and deviation, as reversible
            instance normalisation without weights (Kim et al., Reversible Instance Normalization
            for Accurate Time-Series Forecasting against Distribution Shift, ICLR 2022); "scale" for
            1 and the mean of absolute values, by which windows are divided alone, as in Salinas et
            al., DeepAR, Int. J. of Forecasting 36, 2020; "none".
    """
    if centre == "last":
        return Level(x[torch.arange(len(x)), lengths.squeeze(1) - 1].unsqueeze(1))
    if centre == "none":
        return Level(torch.zeros_like(x[:, :1]))
    n_rows = lengths.unsqueeze(2)
    runs = (torch.arange(x.shape[1]) < lengths).unsqueeze(2)
    if centre == "scale":
        scale = 1 + (x.abs() * runs).sum(dim=1, keepdim=True) / n_rows
        return Level(torch.zeros_like(scale), scale)
    mean = (x * runs).sum(dim=1, keepdim=True) / n_rows
    variance = ((x - mean).square() * runs).sum(dim=1, keepdim=True) / n_rows
    return Level(mean, (variance + LEAST_VARIANCE).sqrt())
