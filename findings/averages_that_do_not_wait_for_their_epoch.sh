#!/usr/bin/env bash
# lightning 2.6.6 with torch 2.13.0, CPU, Python 3.11: EMAWeightAveraging(update_starting_at_epoch=...).
#
# Expected by many: averaging starts at that epoch, as with update_starting_at_step it starts at that
# step.
# Seen: it starts at the first step in any case, because a step asks for update_starting_at_step only,
# and None lets each step count. From the given epoch on the weights at the end of an epoch count a
# second time. An epoch after the end of the run changes nothing. Nothing is said.
#
# Output (a weight that grows by 1 in each of 40 steps, four epochs of ten; decay 0.9):
#   updates   last average
#   40        31.148 without a start
#   40        31.148 update_starting_at_epoch=1000
#   41        32.033 update_starting_at_epoch=3
#   10        34.487 update_starting_at_step=30, where epoch 3 starts
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
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
BATCHES = torch.utils.data.DataLoader(torch.zeros(10))


class OneWeight(pl.LightningModule):
    """A weight that grows by 1 in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def training_step(self, batch, batch_index):
        return -self.weight

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


class CountingAverage(EMAWeightAveraging):
    """The callback, with a count of the updates that it decides on."""

    updates = 0

    def should_update(self, step_idx=None, epoch_idx=None):
        decision = super().should_update(step_idx, epoch_idx)
        self.updates += decision
        return decision


def averaged(title: str, **start: int) -> tuple[int, float]:
    """Train four epochs; return the number of updates, and the average that fit leaves."""
    model, average = OneWeight(), CountingAverage(decay=0.9, **start)
    pl.Trainer(
        max_epochs=4,
        accelerator="cpu",
        callbacks=[average],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(model, BATCHES)
    print(f"{average.updates:<9} {model.weight.item():.3f} {title}")
    return average.updates, model.weight.item()


print("updates   last average")
always = averaged("without a start")
never = averaged("update_starting_at_epoch=1000", update_starting_at_epoch=1000)
late = averaged("update_starting_at_epoch=3", update_starting_at_epoch=3)
waited = averaged(
    "update_starting_at_step=30, where epoch 3 starts", update_starting_at_step=30
)
as_described = always == never and (always[0], late[0], waited[0]) == (40, 41, 10)
sys.exit(not as_described)
PYTHON
