"""Brings forecasts back to the units of the series, as tensors."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gru_parallel.data.standardize import Standardizer


def in_units(values: Tensor, standardizer: Standardizer, columns: Sequence[int]) -> Tensor:
    """Convert standardised values to the units of the series.

    Args:
        values: of the targets, the anchor already added, shape `(..., n_targets)`.
        standardizer: of the columns of the model.
        columns: position of each target among them.

    Returns:
        Tensor of the same shape and device, and of float64: at a high level a float32 loses the
        digits in which values differ.
    """
    units = standardizer.inverse(values.detach().double().cpu().numpy(), columns)
    return torch.from_numpy(units).to(values.device)
