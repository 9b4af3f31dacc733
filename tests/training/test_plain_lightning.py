"""The pipeline against a LightningModule that knows nothing of this package."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.builders import HIDDEN, HORIZON, N_CHANNELS, N_TARGETS, WIDTH, make_plan
from tests.grids import covering
from tests.runs import Run, adamw, fit, largest_difference, make_data, make_module, sgd


class HandWritten(pl.LightningModule):
    """The same model and loss, written out with nn.GRU and nn.Linear."""

    def __init__(self, make_optimizer: Any) -> None:
        super().__init__()
        self.encoder = nn.Linear(N_CHANNELS, WIDTH)
        self.gru = nn.GRU(WIDTH, HIDDEN, 4, batch_first=True)
        self.linear = nn.Linear(HIDDEN, HORIZON * N_TARGETS)
        self.make_optimizer = make_optimizer

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.gru(self.encoder(x))
        scores: Tensor = self.linear(y[:, -1])
        return scores.reshape(-1, HORIZON, N_TARGETS)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return functional.mse_loss(self(batch["x"]), batch["y"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        prediction = self(batch["x"])
        n = len(prediction)
        self.log("val/loss", functional.mse_loss(prediction, batch["y"]), batch_size=n)
        self.log("val/mse", functional.mse_loss(prediction, batch["y"]), batch_size=n)
        self.log("val/mae", functional.l1_loss(prediction, batch["y"]), batch_size=n)

    def configure_optimizers(self) -> Any:
        return self.make_optimizer(self.parameters())


def fit_hand_written(make_optimizer: Any, **options: Any) -> Run:
    module = HandWritten(make_optimizer)
    model = make_module().model
    module.encoder.load_state_dict(model.encoder.state_dict())
    module.gru.load_state_dict(model.gru.state_dict())
    module.linear.load_state_dict(model.head.linear.state_dict())
    return fit(None, module, **options)


def in_words_of_this_package(run: Run) -> dict[str, Tensor]:
    assert isinstance(run.module, HandWritten)
    model = make_module().model.to(run.losses.dtype)
    model.encoder.load_state_dict(run.module.encoder.state_dict())
    model.gru.load_state_dict(run.module.gru.state_dict())
    model.head.linear.load_state_dict(run.module.linear.state_dict())
    return {f"model.{name}": weight.detach() for name, weight in model.named_parameters()}


OPTIMIZERS: dict[str, tuple[Any, str, float]] = {
    "SGD, float32": (sgd, "32-true", 1e-5),
    "SGD, float64": (sgd, "64-true", 1e-10),
    "AdamW, float64": (adamw, "64-true", 1e-10),
}
"""How weights are changed, in which precision, and how far off a run may be."""


@covering(1, optimizer=OPTIMIZERS, layers_per_block=[1, 2])
def test_training_through_the_pipeline_is_plain_lightning_training(
    optimizer: str, layers_per_block: int, no_thread_left: None
) -> None:
    make_optimizer, precision, tolerance = OPTIMIZERS[optimizer]
    options = {
        "precision": precision,
        "gradient_clip_val": 0.2,
        "accumulate_grad_batches": 2,
        "max_epochs": 2,
    }
    stages = [1, 2, 1] if layers_per_block == 1 else [1, 1]
    plan = make_plan(
        stages, n_micro_batches=2, n_chunks=2, num_layers=4, layers_per_block=layers_per_block
    )
    module = make_module(make_optimizer, layers_per_block=layers_per_block)

    pipelined = fit(plan, module, **options)
    plain = fit_hand_written(make_optimizer, **options)

    assert pipelined.losses.dtype == plain.losses.dtype
    assert float((pipelined.losses - plain.losses).abs().max()) <= tolerance
    assert float(pipelined.losses[0] - pipelined.losses[-1]) != 0.0
    for found, wanted in zip(pipelined.validation, plain.validation, strict=True):
        # torchmetrics count in float32, whatever the precision of the model.
        assert largest_difference(
            {name: found[name].double() for name in wanted},
            {name: value.double() for name, value in wanted.items()},
        ) <= max(tolerance, 1e-6)
    expected = in_words_of_this_package(plain)
    renamed = dict(zip(expected, pipelined.weights.values(), strict=True))
    assert largest_difference(renamed, expected) <= tolerance
    assert largest_difference(pipelined.weights, pipelined.initial_weights) > 1e-3


def test_the_pipeline_sees_the_same_batches(no_thread_left: None) -> None:
    """Keeps the test above honest: both runs draw their windows from one order."""
    first, second = (make_data().train_dataloader() for _ in range(2))

    for one, other in zip(first, second, strict=True):
        assert torch.equal(one["x"], other["x"])
