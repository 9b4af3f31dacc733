#!/usr/bin/env bash
# torch 2.13.0, CPU, Python 3.11: OneCycleLR, stepped once after each of its total_steps updates.
#
# Expected by many: the rate after the last update is the lowest, or the step is refused, as the next
# one is.
# Seen: update number total_steps has the lowest rate; the step after it is accepted and gives a rate
# above it, on the curve continued past its end, and only the one after that raises ValueError. A
# checkpoint at the end of a run keeps the risen rate, which no update had.
#
# Output:
#   last update 4.0e-09, after it 1.3e-05, then ValueError
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==${TORCH_VERSION:-2.13.0}" numpy
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch

STEPS = 20
weight = torch.nn.Parameter(torch.zeros(1))
optimizer = torch.optim.SGD([weight], lr=1e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=STEPS)
rates = []
for _ in range(STEPS):
    optimizer.step()
    rates.append(optimizer.param_groups[0]["lr"])
    schedule.step()
after = optimizer.param_groups[0]["lr"]
try:
    schedule.step()
    refused = "accepted"
except ValueError:
    refused = "ValueError"
print(f"last update {rates[-1]:.1e}, after it {after:.1e}, then {refused}")
sys.exit(not (rates[-1] == min(rates) and after > 100 * rates[-1] and refused == "ValueError"))
PYTHON
