#!/usr/bin/env bash
# lightning 2.6.6 with torch 2.13.0, CPU, Python 3.11: Trainer(accumulate_grad_batches=...).
#
# Expected by many: a step of the optimiser follows the mean of the gradients that were accumulated for
# it, also at the end of an epoch, where fewer batches may be left.
# Seen: the loss of every batch is divided by accumulate_grad_batches, so where an epoch has a rest of
# one batch of three, its step is a third of what it would be for that batch alone. Where an epoch
# has fewer batches than are to be accumulated, every step is short, without a word. The first is
# open as Lightning-AI/pytorch-lightning#19987, the second is the subject of
# Lightning-AI/pytorch-lightning#21808.
#
# Output (the gradient of every batch is 1):
#   4 batches, 3 to accumulate: steps of 1.0, 0.33
#   2 batches, 4 to accumulate: steps of 0.5
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet \
    "torch==${TORCH_VERSION:-2.13.0}" "lightning==${LIGHTNING_VERSION:-2.6.6}"
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging
import sys

import lightning.pytorch as pl
import torch
from torch import nn

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class OneWeight(pl.LightningModule):
    """A weight whose gradient is 1 in every batch; notes the steps that it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.before = 0.0
        self.steps = []

    def training_step(self, batch, batch_index):
        return self.weight * 1.0

    def optimizer_step(self, *args, **kwargs) -> None:
        super().optimizer_step(*args, **kwargs)
        self.steps.append(round(self.before - self.weight.item(), 2))
        self.before = self.weight.item()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def steps(n_batches: int, n_accumulated: int) -> list[float]:
    """Train an epoch; return the length of each step."""
    model = OneWeight()
    pl.Trainer(
        max_epochs=1,
        accumulate_grad_batches=n_accumulated,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(model, torch.utils.data.DataLoader(torch.zeros(n_batches)))
    return model.steps


found = []
for n_batches, n_accumulated in ((4, 3), (2, 4)):
    found.append(steps(n_batches, n_accumulated))
    print(
        f"{n_batches} batches, {n_accumulated} to accumulate: steps of",
        ", ".join(map(str, found[-1])),
    )
sys.exit(found != [[1.0, 0.33], [0.5]])
PYTHON
