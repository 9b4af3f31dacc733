#!/usr/bin/env bash
# lightning 2.6.6 and torchmetrics 1.9.0 with torch 2.13.0, CPU, Python 3.11: a metric of the module and
# Trainer(precision="bf16-true").
#
# Expected by many: the sums of a metric keep their 32 bits. torchmetrics keeps them through half(),
# bfloat16(), double() and type() of the module and documents set_dtype as the way to convert them, and
# Lightning sums numbers that are logged in 32 bits.
# Seen: to(dtype) of a module converts them, and Lightning converts a module by it. The sum of errors
# becomes bfloat16 and soon stops growing, while their count, an integer, grows on: the more batches, the
# smaller the error. Nothing is said. self.error.set_dtype(torch.float32) in on_test_start restores it.
#
# Output (2000 batches of eight errors of exactly 1.0):
#   32-true: 1.000 logged as a number, 1.000 as MeanAbsoluteError
#   bf16-true: 1.000 logged as a number, 0.128 as MeanAbsoluteError
#   the sum after bfloat16(): float32, after to(torch.bfloat16): bfloat16
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile "torch==${TORCH_VERSION:-2.13.0}" \
    "lightning==${LIGHTNING_VERSION:-2.6.6}" "torchmetrics==${TORCHMETRICS_VERSION:-1.9.0}"
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging
import sys

import lightning.pytorch as pl
import torch
from torchmetrics import MeanAbsoluteError

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
BATCHES = torch.utils.data.DataLoader(torch.zeros(16000), batch_size=8)


class Ones(pl.LightningModule):
    """Forecasts 1.0 where 0.0 is right, and logs the error in two ways."""

    def __init__(self) -> None:
        super().__init__()
        self.error = MeanAbsoluteError()

    def test_step(self, truth, batch_index):
        forecast = torch.ones_like(truth)
        self.error.update(forecast, truth)
        self.log("metric", self.error)
        self.log("number", (forecast - truth).abs().mean())


def errors(precision: str) -> tuple[float, float]:
    """Test with this precision; return the error logged as a number, and as a metric."""
    trainer = pl.Trainer(
        precision=precision,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    (results,) = trainer.test(Ones(), BATCHES, verbose=False)
    number, metric = results["number"], results["metric"]
    print(f"{precision}: {number:.3f} logged as a number, {metric:.3f} as MeanAbsoluteError")
    return number, metric


def sum_type(metric: MeanAbsoluteError) -> str:
    return str(metric.sum_abs_error.dtype).removeprefix("torch.")


whole, rounded = errors("32-true"), errors("bf16-true")
guarded = sum_type(torch.nn.ModuleList([MeanAbsoluteError()]).bfloat16()[0])
converted = sum_type(torch.nn.ModuleList([MeanAbsoluteError()]).to(torch.bfloat16)[0])
print(f"the sum after bfloat16(): {guarded}, after to(torch.bfloat16): {converted}")
as_described = (
    whole == (1.0, 1.0)
    and rounded[0] == 1.0
    and rounded[1] < 0.2
    and (guarded, converted) == ("float32", "bfloat16")
)
sys.exit(not as_described)
PYTHON
