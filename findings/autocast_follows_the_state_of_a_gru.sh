#!/usr/bin/env bash
# torch 2.13.0, CPU, Python 3.11: nn.GRU under torch.autocast("cpu", torch.bfloat16).
#
# Expected by many: under autocast the type of a layer's outputs is the one that was asked for, as it
# is with nn.Linear; what the caller gives for a state does not decide it.
# Seen: the outputs are float32 where h_0 is float32, or left out, and bfloat16 where h_0 is bfloat16.
# So a stack that hands h_n on, or carries it to the next batch, changes its type by what the first
# state was. (On CUDA, torch casts to float16 there, whatever was asked for.)
#
# Output:
#   h_0 none: outputs torch.float32, h_n torch.float32
#   h_0 float32: outputs torch.float32, h_n torch.float32
#   h_0 bfloat16: outputs torch.bfloat16, h_n torch.bfloat16
#   nn.Linear beside it: torch.bfloat16
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==${TORCH_VERSION:-2.13.0}" numpy
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from torch import nn

gru = nn.GRU(4, 8)
x = torch.randn(3, 2, 4)
states = {
    "none": None,
    "float32": torch.zeros(1, 2, 8),
    "bfloat16": torch.zeros(1, 2, 8, dtype=torch.bfloat16),
}
types = {}
with torch.autocast("cpu", torch.bfloat16):
    for name, h_0 in states.items():
        y, h_n = gru(x, h_0)
        types[name] = y.dtype
        print(f"h_0 {name}: outputs {y.dtype}, h_n {h_n.dtype}")
    linear = nn.Linear(4, 8)(x).dtype
    print(f"nn.Linear beside it: {linear}")
expected = {"none": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16}
sys.exit(not (types == expected and linear == torch.bfloat16))
PYTHON
