#!/usr/bin/env bash
# lightning 2.6.6 with torch 2.13.0, CPU, Python 3.11: Trainer(precision="64-true").
#
# Expected by many: a checkpoint of float64 weights, loaded by the same Trainer into the same module,
# gives these weights.
# Seen: weights are loaded before the module becomes one of float64, so they are rounded to float32 on
# the way. A run that goes on from its own checkpoint begins with other weights than it had, and
# trainer.test(ckpt_path=...) tests others than were trained. The type says float64 afterwards, and
# nothing is said. A module that is made inside trainer.init_module() keeps them.
#
# Output:
#   in the file: float64, 0.1234567890123456
#   tested by the same Trainer's settings: float64, 0.12345679104328156
#   in a module of init_module: float64, 0.1234567890123456
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
WANTED = 0.1234567890123456
BATCHES = torch.utils.data.DataLoader(torch.zeros(1))


class OneWeight(pl.LightningModule):
    """A weight that is moved to a number in the first step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_index):
        return -WANTED * self.weight.sum()

    def test_step(self, batch, batch_index):
        self.tested = self.weight.detach().clone()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def trainer() -> pl.Trainer:
    return pl.Trainer(
        max_epochs=1,
        precision="64-true",
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def shown(where: str, weight: torch.Tensor) -> float:
    print(f"{where}: {str(weight.dtype).removeprefix('torch.')}, {weight.item()!r}")
    return weight.item()


first = trainer()
first.fit(OneWeight(), BATCHES)
first.save_checkpoint("one.ckpt")
saved = shown("in the file", torch.load("one.ckpt", weights_only=True)["state_dict"]["weight"])

module = OneWeight()
trainer().test(module, BATCHES, ckpt_path="one.ckpt", verbose=False)
tested = shown("tested by the same Trainer's settings", module.tested)

other = trainer()
with other.init_module():
    module = OneWeight()
other.test(module, BATCHES, ckpt_path="one.ckpt", verbose=False)
kept = shown("in a module of init_module", module.tested)

rounded = torch.tensor(saved, dtype=torch.float32).double().item()
sys.exit(not (saved == kept and tested == rounded != saved))
PYTHON
