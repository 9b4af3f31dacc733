#!/usr/bin/env bash
# lightning 2.6.6 with torch 2.13.0, CPU, Python 3.11: StochasticWeightAveraging.
#
# Expected by many: the average is one of the weights at the ends of the last epochs, as torch's
# swa_utils have it.
# Seen: weights are added when an epoch starts, before its first step. The weights that the last epoch
# ends with never count, so that epoch is trained for nothing, and where the average starts with the
# first epoch the weights before any training count. A run of one epoch (by default the average starts
# at epoch int(0.8 * 1) = 0) ends with the weights that it began with, while its validation saw the
# trained ones. Nothing is said.
#
# Output (a weight that grows by 1 in each epoch, from 0):
#   1 epoch: validated 1, left by fit and tested 0
#   5 epochs, average from the first: validated 1 2 3 4 5, left by fit and tested 2
#   10 epochs: validated 1 2 3 4 5 6 7 8 9 10, left by fit and tested 8
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    "torch==${TORCH_VERSION:-2.13.0}" "lightning==${LIGHTNING_VERSION:-2.6.6}"
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging
import sys

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging
from torch import nn

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
BATCHES = torch.utils.data.DataLoader(torch.zeros(1))


class OneWeight(pl.LightningModule):
    """A weight that grows by 1 in each step; keeps what is validated and tested."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.validated = []

    def training_step(self, batch, batch_index):
        return -self.weight

    def validation_step(self, batch, batch_index):
        self.validated.append(self.weight.item())

    def test_step(self, batch, batch_index):
        self.tested = self.weight.item()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def weights(title: str, epochs: int, **start: int) -> tuple[list[float], float]:
    """Train and test with the callback; return the weights validated, and the one tested."""
    model = OneWeight()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[StochasticWeightAveraging(swa_lrs=1.0, **start)],
        logger=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, BATCHES, BATCHES)
    trainer.test(model, BATCHES, verbose=False)
    assert model.weight.item() == model.tested
    validated = " ".join(f"{weight:g}" for weight in model.validated)
    print(f"{title}: validated {validated}, left by fit and tested {model.tested:g}")
    return model.validated, model.tested


found = [
    weights("1 epoch", 1),
    weights("5 epochs, average from the first", 5, swa_epoch_start=1),
    weights("10 epochs", 10),
]
described = [([float(e + 1) for e in range(n)], left) for n, left in ((1, 0), (5, 2), (10, 8))]
sys.exit(found != described)
PYTHON
