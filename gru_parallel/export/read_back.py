"""Compares what was exported, once it has been read back, with the model of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gru_parallel.export.level import for_each_number
from gru_parallel.export.trained import Trained
from gru_parallel.model import WindowView

Forecast = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]
"""From windows and h_0, which is None unless the model carries its state, to forecast and h_n."""

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 0.01, torch.bfloat16: 0.05}
"""How far apart forecasts may be, relative to the largest entry, by the type of computation."""


@dataclass(frozen=True)
class Comparison:
    """How far an export is from the model.

    Attributes:
        lengths: rows of the windows that were compared.
        difference: the largest, relative to the largest entry.
        tolerance: how large it may be.
    """

    lengths: tuple[int, ...]
    difference: float
    tolerance: float

    @property
    def is_close(self) -> bool:
        """Whether the export computes what the model does; what is no number is not close."""
        return self.difference <= self.tolerance


def compare(
    read: Forecast, trained: Trained, *, in_units: bool, dtype: torch.dtype | None = None
) -> Comparison:
    """Compare over windows of several lengths, one at a time and several at once.

    Args:
        read: what was read back.
        trained: the model.
        in_units: whether `read` takes and gives the units of the series.
        dtype: the type that `read` computes in; None for the weights' type.
    """
    scaling = trained.scaling
    unit = scaling.scale[list(scaling.targets)] if in_units else torch.ones(())
    tolerance = max(TOLERANCES[trained.dtype], TOLERANCES[dtype or trained.dtype])
    if in_units:
        # What a float64 of the level of the series is rounded by.
        level = (scaling.mean / scaling.scale)[list(scaling.targets)].abs().max()
        tolerance += float(level) * torch.finfo(torch.float64).eps
    differences, lengths = [], []
    for x, h_0 in _windows(trained):
        given = x.double() * scaling.scale + scaling.mean if in_units else x
        x = scaling.standardised(given).to(x) if in_units else x
        forecast, h_n = trained.forecast(x, h_0)
        expected = scaling.in_units(forecast) if in_units else forecast
        found, found_h_n = read(given, h_0)
        differences.append(_difference(found, expected, unit, forecast))
        if found_h_n is not None:
            differences.append(_difference(found_h_n, h_n, torch.ones(()), h_n))
        lengths.append(x.shape[1])
    return Comparison(tuple(lengths), float(torch.stack(differences).max()), tolerance)


def _windows(trained: Trained) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Draw standardised windows, and the states to start from if the model carries its own."""
    generator = torch.Generator().manual_seed(0)
    gru, view, length = trained.model.gru, trained.model.view or WindowView(), trained.input_length
    for n_rows, at_least in ((1, length), (5, length // 2 + 1), (3, length + 7)):
        n_steps = -(-at_least // view.segment_length) * view.segment_length
        x = torch.randn(n_rows, n_steps, len(trained.columns), generator=generator)
        shape = gru.n_states, n_rows * (view.n_channels or 1), gru.hidden_size
        h_0 = torch.randn(shape, generator=generator).tanh()
        yield x.to(trained.dtype), h_0.to(trained.dtype) if gru.carries else None


def _difference(found: Tensor, expected: Tensor, unit: Tensor, forecast: Tensor) -> Tensor:
    """Return the largest difference in standard units, relative to the largest entry; or NaN."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    unit = for_each_number(unit, found) if unit.dim() else unit
    return ((found.double() - expected.double()) / unit).abs().max() / forecast.double().abs().max()
