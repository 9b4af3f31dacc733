#!/usr/bin/env bash
# lightning 2.6.6 with torch 2.13.0, CPU, Python 3.11: Trainer(max_epochs=..., max_steps=...).fit(...,
# ckpt_path=...) with a checkpoint of the end of an epoch.
#
# Expected by many: the next epoch is trained next, as with max_epochs alone, and the run ends after
# as many steps as one that was never stopped.
# Seen: the epoch that is complete already is gone into once more: its first batch is trained on
# again, as its sixth, and its end counts as that of an epoch. With both limits, which fit each other
# here, the run ends by max_epochs an epoch early. Nothing is said.
#
# Output (four epochs of five batches; epoch:batch of each step after the second epoch):
#   20 steps  max_epochs=4, resumed after two
#             2:0 2:1 2:2 2:3 2:4 3:0 3:1 3:2 3:3 3:4
#   16 steps  max_epochs=4, max_steps=20, resumed after two
#             1:5 2:0 2:1 2:2 2:3 2:4
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
import tempfile

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
BATCHES = torch.utils.data.DataLoader(torch.zeros(5))


class OneWeight(pl.LightningModule):
    """A weight that grows by 1 in each step, and notes which batches it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.given: list[str] = []

    def training_step(self, batch, batch_index):
        self.given.append(f"{self.current_epoch}:{batch_index}")
        return -self.weight

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def train(folder, checkpoint=None, **limits):
    """Train within limits, and keep the last checkpoint; return the model."""
    model = OneWeight()
    pl.Trainer(
        **limits,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(folder, save_last=True)],
    ).fit(model, BATCHES, ckpt_path=checkpoint)
    return model


def resumed(title, **limits):
    """Train two epochs, then within limits from there; return the steps and the batches after."""
    with tempfile.TemporaryDirectory() as folder:
        train(folder, max_epochs=2)
        model = train(folder, f"{folder}/last.ckpt", **limits)
    steps = int(model.weight)
    print(f"{steps} steps  {title}, resumed after two\n          {' '.join(model.given)}")
    return steps, model.given


by_epochs = resumed("max_epochs=4", max_epochs=4)
by_both = resumed("max_epochs=4, max_steps=20", max_epochs=4, max_steps=20)
as_described = by_epochs[0] == 20 and by_both == (16, ["1:5", *by_epochs[1][:5]])
sys.exit(not as_described)
PYTHON
