#!/usr/bin/env bash
# lightning 2.6.6 with torch 2.13.0, CPU, Python 3.11: GradientAccumulationScheduler.
#
# Expected by many: a run that is resumed from a checkpoint within an epoch accumulates in the rest of
# that epoch as the callback's schedule says.
# Seen: the callback sets the number when an epoch starts, and an epoch that is resumed has started
# already. Until its end each batch is a step of its own, at the full rate; from the next epoch on it is
# as scheduled. Nothing is said.
#
# Output (eight batches an epoch, four to accumulate):
#   not resumed: 2 steps in the first epoch, 2 in the second
#   resumed after the first step: 4 more in the first epoch, 2 in the second
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
from collections import Counter

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint
from torch import nn

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class OneWeight(pl.LightningModule):
    """A weight; counts its steps in each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.steps = Counter()

    def training_step(self, batch, batch_index):
        return self.weight * 1.0

    def optimizer_step(self, *args, **kwargs) -> None:
        super().optimizer_step(*args, **kwargs)
        self.steps[self.current_epoch] += 1

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def steps(resume_from: str | None) -> tuple[int, int]:
    """Train two epochs; return the steps that were taken in each."""
    model = OneWeight()
    pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        callbacks=[
            GradientAccumulationScheduler(scheduling={0: 4}),
            ModelCheckpoint(
                dirpath=f"from-{resume_from is None}",
                filename="{step}",
                every_n_train_steps=1,
                save_top_k=-1,
            ),
        ],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(model, torch.utils.data.DataLoader(torch.zeros(8)), ckpt_path=resume_from)
    return model.steps[0], model.steps[1]


whole = steps(None)
print(f"not resumed: {whole[0]} steps in the first epoch, {whole[1]} in the second")
rest = steps("from-True/step=1.ckpt")
print(
    f"resumed after the first step: {rest[0]} more in the first epoch, {rest[1]} in the second"
)
sys.exit((whole, rest) != ((2, 2), (4, 2)))
PYTHON
