"""Small trained models of every kind, for the tests of what is exported."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from gru_parallel.export.level import for_each_number
from gru_parallel.export.trained import Scaling, Trained
from gru_parallel.model import StackModel
from gru_parallel.model.output import output_named
from tests.builders import HORIZON, N_CHANNELS, N_TARGETS, build_model
from tests.forecasters import HORIZON as HORIZON_OF_FORECASTER
from tests.forecasters import N_SEGMENTS, SEGMENT, build_forecaster

SCALING = Scaling(
    torch.tensor([3e4, -2.0, 0.1], dtype=torch.float64),
    torch.tensor([1.5, 20.0, 1.0], dtype=torch.float64),
    # Not in the order of the columns.
    (2, 0),
)
"""The level of the first column takes four of the seven digits of a float32."""


def trained(
    num_layers: int = 3,
    layers_per_block: int = 1,
    *,
    centre: str = "last",
    encoder: bool = True,
    dtype: torch.dtype = torch.float32,
    **options: Any,
) -> Trained:
    """Return a model of `build_model`, as if it had been trained."""
    model = build_model(num_layers, layers_per_block, dtype=dtype, **options)
    if not encoder:
        # Weights as large as others' outputs would be: else it would be nearly linear.
        model = StackModel(nn.Identity(), model.gru, model.head)
    columns = tuple(f"x{index}" for index in range(N_CHANNELS if encoder else 6))
    scaling = (
        SCALING if encoder else Scaling(torch.zeros(6).double(), torch.ones(6).double(), (2, 0))
    )
    targets = tuple(columns[index] for index in scaling.targets)
    assert len(targets) == N_TARGETS
    return Trained(model.eval(), columns, targets, scaling, 7, HORIZON, centre)


def forecaster(centre: str = "last", **options: Any) -> Trained:
    """Return a model of `build_forecaster`, as if it had been trained."""
    model = build_forecaster(dtype=torch.float32, **options)
    columns = tuple(f"x{index}" for index in range(N_CHANNELS))
    scaling = replace(SCALING, targets=(0, 1, 2))
    length = N_SEGMENTS * SEGMENT
    return Trained(model.eval(), columns, columns, scaling, length, HORIZON_OF_FORECASTER, centre)


def with_output(
    name: str, *, of_forecaster: bool = False, is_scaled: bool = True, **options: Any
) -> Trained:
    """Return a model whose head has the numbers of an output."""
    found = (forecaster if of_forecaster else trained)(**options)
    model, output = found.model, output_named(name, (0.1, 0.4, 0.5, 0.9))
    *before, n_targets = model.head.output_shape
    horizon = before[0] if before else 1
    sizes = model.head.linear.in_features, horizon, n_targets * output.n_numbers
    segment = model.view.segment_length if model.head.n_decoding else 1
    model.head = type(model.head).for_forecast(*sizes, segment).to(found.dtype)
    model.output = output
    if is_scaled:
        return found
    plain = Scaling(torch.zeros(3).double(), torch.ones(3).double(), found.scaling.targets)
    return replace(found, scaling=plain)


MODELS: dict[str, Callable[[], Trained]] = {
    "one direction": trained,
    "both directions, no bias": lambda: trained(bidirectional=True, bias=False),
    "blocks of two layers, dropout": lambda: trained(5, 2, dropout=0.4, h_0="zeros"),
    "every step, both directions": lambda: trained(
        bidirectional=True, every_step=True, centre="none"
    ),
    "no encoder": lambda: trained(1, encoder=False),
    "learned": lambda: trained(h_0="learned", bidirectional=True),
    "carry": lambda: trained(h_0="carry", centre="none"),
    "previous": lambda: trained(4, 2, h_0=["learned", "previous"]),
    "a mixture": lambda: trained(
        7,
        bidirectional=[True, True, False, False, False, False, False],
        h_0=["carry", "previous", "carry", "previous", "previous", "learned", "zeros"],
        every_step=True,
        centre="none",
    ),
    "layers to directions": lambda: trained(
        3, 2, bidirectional=[False, True], h_0=["zeros", "previous"]
    ),
    "residuals and norms": lambda: trained(4, 2, residual=True, norm="layer", bias=False),
    "residuals and norms, in a mixture": lambda: trained(
        7,
        2,
        bidirectional=[True, True, False, False],
        h_0=["learned", "previous", "carry", "zeros"],
        residual=True,
        norm="layer",
        centre="none",
    ),
    "residuals, no encoder": lambda: trained(2, encoder=False, residual=True),
    "standardised windows": lambda: trained(centre="standardize"),
    "segments, a decoder": lambda: forecaster(residual=True, norm="layer"),
    "segments of all channels, a decoder, learned": lambda: forecaster(
        per_channel=False, h_0="learned", centre="standardize"
    ),
    "channels by themselves, carry": lambda: forecaster(
        decoder=False, h_0=["carry", "previous", "carry", "learned"]
    ),
    "quantiles": lambda: with_output("quantile", centre="standardize"),
    "quantiles of channels by themselves": lambda: with_output(
        "quantile", of_forecaster=True, decoder=False
    ),
    "a normal distribution, a decoder": lambda: with_output(
        "normal", of_forecaster=True, per_channel=False, centre="scale"
    ),
    "a normal distribution at every step, bfloat16": lambda: with_output(
        "normal", every_step=True, centre="none", dtype=torch.bfloat16
    ),
    "counts": lambda: with_output("negative_binomial", centre="scale", is_scaled=False),
    "counts of channels by themselves": lambda: with_output(
        "negative_binomial", of_forecaster=True, centre="scale", is_scaled=False
    ),
    "float64": lambda: trained(dtype=torch.float64, h_0="learned"),
    "bfloat16": lambda: trained(dtype=torch.bfloat16),
}
"""Models of every kind."""


def windows(model: Trained, n_rows: int, n_steps: int, seed: int = 3) -> Tensor:
    """Draw windows in the units of the series, in float64."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n_rows, n_steps, len(model.columns), generator=generator, dtype=torch.float64)
    return x * model.scaling.scale + model.scaling.mean


def forecasts(model: Trained, x: Tensor) -> Tensor:
    """Forecast with the model, from windows and in forecasts in the units of the series."""
    standardised = model.scaling.standardised(x).to(model.dtype)
    return model.scaling.in_units(model.forecast(standardised)[0])


def largest_difference(model: Trained, found: Tensor, expected: Tensor) -> float:
    """Return the largest difference, in standard units."""
    assert found.shape == expected.shape
    unit = for_each_number(model.scaling.scale[list(model.scaling.targets)], found)
    return float(((found - expected) / unit).abs().max())


def shapes(lengths: Sequence[int] = (1, 2, 7, 30)) -> list[tuple[int, int]]:
    """Return rows and steps of some windows: alone and together, shorter and longer."""
    return [(n_rows, n_steps) for n_rows in (1, 4) for n_steps in lengths]
