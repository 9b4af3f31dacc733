"""Metrics of forecasts are what docs/after-training.md says, in the units that it says."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gru_parallel.choices import metric_names
from gru_parallel.data import SeriesDataModule, Table
from gru_parallel.model import NormalOutput, WindowHead
from gru_parallel.training import SeriesModule
from gru_parallel.training.compared import compare
from gru_parallel.training.forecast_metrics import ForecastMetrics
from tests.builders import (
    HIDDEN,
    HORIZON,
    N_CHANNELS,
    N_TARGETS,
    build_model,
    make_plan,
)
from tests.runs import INPUT_LENGTH, adamw, make_data, make_module, make_trainer

LEVELS = (0.1, 0.25, 0.75, 0.9)
ROWS = range(110, 150)
"""Of the test part."""


def in_units(values: Tensor) -> Tensor:
    return 10 * values + 3


def counted(batches: list[dict[str, Tensor]], forecasts: list[Tensor], **options: Any) -> Any:
    metrics = ForecastMetrics(LEVELS)
    for batch, forecast in zip(batches, forecasts, strict=True):
        compared = compare(forecast, batch, in_units, has_quantiles=True, **options)
        for _ in metrics.count(torch.tensor(0.0), 1, compared):
            pass
    return {name: float(metric.compute()) for name, metric in metrics.items()}


@pytest.mark.parametrize("every_step", [False, True])
def test_each_metric_is_the_textbooks(every_step: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    batches, forecasts, whole = [], [], []
    for n_rows in (4, 2):
        y = torch.randn(n_rows, 5, 2, generator=generator)
        anchor, naive = (torch.rand(n_rows, 1, 2, generator=generator) for _ in range(2))
        # One scale is unknown, and one is 0.
        naive[0, 0, 0], naive[1, 0, 1] = math.nan, 0.0
        batch = {"y": y, "anchor": anchor, "naive_error": naive}
        if every_step:
            batch["lengths"] = torch.randint(1, 6, (n_rows,), generator=generator)
        drawn = torch.randn(n_rows, 5, 2, 5, generator=generator).sort(-1).values
        forecasts.append(drawn[..., [2, 0, 1, 3, 4]])
        batches.append(batch)
        runs = torch.arange(5) < batch.get("lengths", torch.full((n_rows,), 5)).unsqueeze(1)
        each = [
            forecasts[-1],
            y.unsqueeze(-1),
            *(t.expand_as(y)[..., None] for t in (anchor, naive)),
        ]
        whole.append(torch.cat([t[runs] for t in each], -1))
    numbers = torch.cat(whole).double().flatten(0, 1).numpy()
    point, *quantiles, y, anchor, naive = numbers.T

    found = counted(batches, forecasts, every_step=every_step)

    said, came = (10 * (values + anchor) + 3 for values in (point, y))
    is_known = naive > 0
    errors = [
        np.maximum(q * (y - f), (q - 1) * (y - f)) for q, f in zip(LEVELS, quantiles, strict=True)
    ]
    assert found == pytest.approx(
        {
            "loss": 0.0,
            "mse": np.mean((point - y) ** 2),
            "mae": np.mean(np.abs(point - y)),
            "rmse": np.sqrt(np.mean((point - y) ** 2)),
            "smape": np.mean(2 * np.abs(said - came) / (np.abs(said) + np.abs(came))),
            "mase": np.mean(np.abs(point - y)[is_known] / naive[is_known]),
            "pinball": np.mean(errors),
            "coverage_80": np.mean((quantiles[0] <= y) & (y <= quantiles[3])),
            "coverage_50": np.mean((quantiles[1] <= y) & (y <= quantiles[2])),
        },
        rel=1e-5,
    )
    assert list(found) == ["loss", *metric_names(LEVELS)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_metrics_of_a_model_in_16_bits_go_on_growing(dtype: torch.dtype) -> None:
    module = make_module().to(dtype=dtype)
    metrics: Any = module.metrics["val"]
    y = torch.full((101, 1), 1.0078125, dtype=dtype)
    batch = {"y": y, "naive_error": torch.ones_like(y)}
    for _ in range(60):
        compared = compare(torch.zeros_like(y), batch, None, every_step=False, has_quantiles=False)
        for _ in metrics.count(torch.tensor(101 * 1.0078125), 101, compared):
            pass

    found = {name: float(metric.compute()) for name, metric in metrics.items()}

    error = 1.0078125
    assert found == pytest.approx(
        {"loss": error, "mse": error**2, "mae": error, "rmse": error, "smape": 2.0, "mase": error},
        rel=1e-5,
    )


def test_metrics_stay_in_64_bits_where_they_have_been_widened() -> None:
    metrics: Any = make_module().to(dtype=torch.float64).metrics["val"]

    assert metrics["loss"].total.dtype == torch.float64


def test_names_of_intervals_are_their_nominal_shares() -> None:
    assert metric_names(()) == ("mse", "mae", "rmse", "smape", "mase")
    assert metric_names((0.0025, 0.05, 0.5, 0.95, 0.9975))[5:] == (
        "pinball",
        "coverage_99_5",
        "coverage_90",
    )
    assert metric_names((0.5,))[5:] == ("pinball",)


def make_series(n_series: int, *, flat: bool = False) -> list[Table]:
    """Make series of 150 rows at a high level, of unequal size; of the last, a column is flat."""
    random = np.random.default_rng(0)
    tables = []
    for number in range(n_series):
        values = 1e4 + 10.0**number * random.normal(size=(150, 2)).cumsum(0)
        if flat and number == n_series - 1:
            values[:, 0] = 5.0
        tables.append(Table(None, values, ("a", "b"), ("b", "a"), f"s{number}"))
    return tables


def naive_of(history: NDArray[np.float64], season: int) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.abs(history[season:] - history[:-season]).mean(0)
    return found


@pytest.mark.parametrize("centre", ["last", "standardize"])
def test_a_test_measures_smape_and_mase_in_units_as_for_the_baselines(centre: str) -> None:
    tables = make_series(2, flat=True)
    data = SeriesDataModule(
        tables,
        input_length=INPUT_LENGTH,
        horizon=3,
        batch_size=16,
        split=(100, 10, 40),
        season_length=4,
        centre=centre,
    )
    model = build_model(dtype=torch.float32)
    model.encoder = torch.nn.Linear(2, 6)
    model.head = WindowHead(HIDDEN, (3, 2))
    # The mean of the window, or its last value.
    torch.nn.init.zeros_(model.head.linear.weight)
    torch.nn.init.zeros_(model.head.linear.bias)

    (found,) = make_trainer(make_plan([2, 2])).test(
        SeriesModule(model, make_module().loss, adamw), data, verbose=False
    )

    relative, scaled = [], []
    for table in tables:
        values = table.values[:, [1, 0]]
        naive = naive_of(values[:100], 4)
        for end in range(110, 148):
            window, came = values[end - INPUT_LENGTH : end], values[end : end + 3]
            said = window[-1:] if centre == "last" else window.mean(0, keepdims=True)
            errors = np.abs(came - said)
            relative.append(2 * errors / (np.abs(came) + np.abs(said)))
            scaled.append(errors[:, naive > 0] / naive[naive > 0])
    assert found["test/smape"] == pytest.approx(np.mean(relative), rel=1e-3)
    assert found["test/mase"] == pytest.approx(np.concatenate(scaled, None).mean(), rel=1e-4)
    assert found["test/rmse"] == pytest.approx(math.sqrt(found["test/mse"]), rel=1e-5)
    if centre == "last":
        score = data.baselines("test")["repeat_last"].metrics
        assert {f"test/{name}": value for name, value in score.items()} == pytest.approx(
            {name: value for name, value in found.items() if name != "test/loss"}, rel=1e-4
        )


def test_without_a_training_part_of_its_own_a_series_has_no_mase() -> None:
    data = SeriesDataModule(
        make_series(3),
        input_length=INPUT_LENGTH,
        horizon=3,
        batch_size=16,
        split_by="series",
        split=(1, 1, 1),
    )

    score = data.baselines("test")["repeat_last"]

    assert math.isnan(score.mase)
    assert score.smape > 0
    assert data.dataset("test")[0]["naive_error"].isnan().all()
    assert "naive_error" not in data.dataset("training")[0]


def test_quantiles_are_measured_and_forecasts_have_them_in_units() -> None:
    output = NormalOutput((0.1, 0.9))
    model = build_model(dtype=torch.float32)
    model.head = WindowHead(HIDDEN, (HORIZON, 2 * N_TARGETS))
    model.output = output
    assert output.loss is not None
    module, data = SeriesModule(model, output.loss, adamw), make_data(centre="standardize")
    trainer = make_trainer(make_plan([2, 2]))

    (found,) = trainer.test(module, data, verbose=False)
    forecasts = torch.cat(trainer.predict(module, data))

    assert set(found) == {f"test/{name}" for name in ("loss", *metric_names(output.levels))}
    dataset = data.dataset("test")
    came = torch.stack([dataset[k]["y"] + dataset[k]["anchor"] for k in range(len(dataset))])
    came = data.inverse(came)
    assert forecasts.shape == (*came.shape, 3)
    assert N_CHANNELS > N_TARGETS
    mean, lower, upper = forecasts.unbind(-1)
    torch.testing.assert_close(mean, (lower + upper) / 2, rtol=1e-4, atol=1e-4)
    is_inside = (lower <= came) & (came <= upper)
    assert found["test/coverage_80"] == pytest.approx(float(is_inside.float().mean()), abs=0.01)
    scale = torch.from_numpy(data.standardizer.scale[:N_TARGETS]).float()
    assert found["test/mae"] == pytest.approx(float(((mean - came).abs() / scale).mean()), rel=1e-3)
