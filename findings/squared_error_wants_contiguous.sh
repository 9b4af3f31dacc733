#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.13.0, CPU, Python 3.11: forecasts as a transposed view, such as
# (batch, time, channels) of what a model computes channel by channel.
#
# Expected by many: MeanSquaredError and MeanAbsoluteError take any tensor of the right shape, as torch's
# own losses do.
# Seen: both raise RuntimeError (they ask for a view of one dimension) unless the tensors are contiguous;
# the losses of torch compute.
#
# Output:
#   MeanAbsoluteError raises RuntimeError, MeanSquaredError raises RuntimeError, of a copy it computes
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==${TORCH_VERSION:-2.13.0}" torchmetrics==1.9.0 numpy
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from torchmetrics import MeanAbsoluteError, MeanSquaredError

forecast = torch.arange(24.0).reshape(2, 3, 4).transpose(1, 2)
truth = torch.zeros(2, 4, 3)


def outcome(metric: torch.nn.Module, forecast: torch.Tensor) -> str:
    try:
        metric.update(forecast, truth)
    except Exception as error:
        return f"raises {type(error).__name__}"
    return "computes"


absolute, squared = outcome(MeanAbsoluteError(), forecast), outcome(MeanSquaredError(), forecast)
torch.nn.functional.mse_loss(forecast, truth)
copied = outcome(MeanSquaredError(), forecast.contiguous())
print(f"MeanAbsoluteError {absolute}, MeanSquaredError {squared}, of a copy it {copied}")
sys.exit((absolute, squared, copied) != ("raises RuntimeError", "raises RuntimeError", "computes"))
PYTHON
