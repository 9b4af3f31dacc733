"""Whole training runs, small ones, that the tests of training/ hold against each other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from gru_parallel.data import SeriesDataModule, Table
from gru_parallel.data.lorenz96 import lorenz96
from gru_parallel.placement.plan import Plan
from gru_parallel.training import PipelineStrategy, SeriesModule
from tests.builders import HORIZON, MSE, N_CHANNELS, N_TARGETS, build_model

BATCH_SIZE, INPUT_LENGTH = 16, 7
N_TRAINING, N_VALIDATION, N_TEST = 70, 20, 25
"""Windows of each part: none is a whole number of batches."""

N_BATCHES = 5
"""Batches an epoch; the last one holds 6 windows."""

sgd: Callable[..., Optimizer] = partial(SGD, lr=0.5, momentum=0.9)
adamw: Callable[..., Optimizer] = partial(AdamW, lr=1e-2)


@cache
def series(n_rows: int, seed: int) -> NDArray[np.float64]:
    """Generate what whole training runs have for data."""
    return lorenz96(n_rows, 4, seed)[:, :N_CHANNELS]


def make_data(
    seed: int = 0, batch_size: int = BATCH_SIZE, *, level: float = 0.0, **options: Any
) -> SeriesDataModule:
    """Make windows for a model of `build_model`, the same ones for the same seed.

    The level is added to all values; options are those of `SeriesDataModule`.
    """
    rows = (
        N_TRAINING + INPUT_LENGTH + HORIZON - 1,
        N_VALIDATION + HORIZON - 1,
        N_TEST + HORIZON - 1,
    )
    values = series(sum(rows), seed) + level
    names = tuple(f"x{index}" for index in range(N_CHANNELS))
    return SeriesDataModule(
        Table(None, values, names, names[:N_TARGETS]),
        input_length=INPUT_LENGTH,
        horizon=HORIZON,
        batch_size=batch_size,
        split=rows,
        seed=seed,
        **options,
    )


def make_module(
    make_optimizer: Callable[..., Optimizer] = sgd,
    *,
    dropout: float = 0.0,
    num_layers: int = 4,
    layers_per_block: int = 1,
    **options: Any,
) -> SeriesModule:
    """Wrap a model of `build_model`, the same weights every time."""
    model = build_model(num_layers, layers_per_block, dropout=dropout, dtype=torch.float32)
    return SeriesModule(model, MSE, make_optimizer, **options)


def make_trainer(plan: Plan | None, folder: Path | None = None, **options: Any) -> pl.Trainer:
    """Make a quiet Trainer: over the plan's stages, or plain on one device."""
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": folder,
    }
    if plan is not None:
        defaults["strategy"] = PipelineStrategy(plan)
    return pl.Trainer(**defaults | options)


class Recorder(pl.Callback):
    """Keeps what a run came to, batch by batch and epoch by epoch."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.rates: list[float] = []
        self.validation: list[dict[str, Tensor]] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *rest: Any
    ) -> None:
        self.losses.append(outputs["loss"].detach().cpu().clone())
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        named = trainer.callback_metrics.items()
        metrics = {name: value.clone() for name, value in named if name.startswith("val/")}
        self.validation.append(metrics)


class SaveAfter(pl.Callback):
    """Writes a checkpoint after a number of training batches, and goes on."""

    def __init__(self, n_batches: int, path: Path) -> None:
        self.n_batches = n_batches
        self.path = path

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.fit_loop.total_batch_idx + 1 == self.n_batches:
            trainer.save_checkpoint(self.path)


@dataclass(frozen=True)
class Run:
    """What a training run came to.

    Attributes:
        losses: of every batch in order.
        rates: the learning rate after every batch.
        validation: metrics after every validation.
        weights: at the end, by name.
        initial_weights: before the run, by name.
        trainer: that ran it.
        module: that was trained.
    """

    losses: Tensor
    rates: list[float]
    validation: list[dict[str, Tensor]]
    weights: dict[str, Tensor]
    initial_weights: dict[str, Tensor]
    trainer: pl.Trainer = field(repr=False)
    module: pl.LightningModule = field(repr=False)


def weights_of(module: torch.nn.Module) -> dict[str, Tensor]:
    """Copy the parameters by name, those that are here: a rank has its stages' alone."""
    named = module.named_parameters()
    return {name: weight.detach().cpu().clone() for name, weight in named if not weight.is_meta}


def fit(
    plan: Plan | None,
    module: pl.LightningModule | None = None,
    data: SeriesDataModule | None = None,
    *,
    callbacks: Sequence[pl.Callback] = (),
    ckpt_path: Path | None = None,
    **options: Any,
) -> Run:
    """Train, by default two epochs of the standard module on the standard data."""
    module = module or make_module()
    recorder = Recorder()
    initial = weights_of(module)
    trainer = make_trainer(plan, callbacks=[recorder, *callbacks], **options)
    trainer.fit(module, data or make_data(), ckpt_path=ckpt_path)
    return Run(
        torch.stack(recorder.losses) if recorder.losses else torch.zeros(0),
        recorder.rates,
        recorder.validation,
        weights_of(module),
        initial,
        trainer,
        module,
    )


def largest_difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Return the largest difference between tensors of the same name."""
    assert list(a) == list(b)
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def assert_same_run(actual: Run, expected: Run, tolerance: float) -> None:
    """Compare losses, rates, validation metrics and weights; the weights must have moved."""
    assert actual.losses.dtype == expected.losses.dtype
    assert actual.losses.shape == expected.losses.shape
    assert float((actual.losses - expected.losses).abs().max()) <= tolerance
    assert actual.rates == expected.rates
    assert len(actual.validation) == len(expected.validation)
    for found, wanted in zip(actual.validation, expected.validation, strict=True):
        assert largest_difference(found, wanted) <= tolerance
    assert largest_difference(actual.weights, expected.weights) <= tolerance
    assert largest_difference(actual.weights, actual.initial_weights) > 1e-3


def assert_bit_for_bit(actual: Run, expected: Run) -> None:
    """Compare losses and weights to the last bit; the weights must have moved."""
    assert torch.equal(actual.losses, expected.losses)
    assert actual.weights.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():
        assert torch.equal(actual.weights[name], weight), name
    assert largest_difference(actual.weights, actual.initial_weights) > 1e-3
