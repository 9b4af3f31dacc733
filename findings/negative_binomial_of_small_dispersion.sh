#!/usr/bin/env bash
# torch 2.13.0, CPU, Python 3.11: the log likelihood of counts under NegativeBinomial in float32, made as
# DeepAR makes it (total_count = 1 / dispersion, mean 40, a count of 43).
#
# Expected by many: gradients like those in float64, to some digits; counts this small are no strain.
# Seen: the likelihood is right to three digits or more, and the gradient of the dispersion is not: off
# by half a percent at 0.001, of the other sign at 0.0001, a hundred times too large at 0.00001. It is a
# difference of digamma functions of total_count, which float32 rounds away. A model that learns that
# counts vary little gets noise for a gradient, and no warning. The gradient of the mean stays right.
#
# Output:
#   dispersion 0.01: gradient -12.8 in float32, -12.8 in float64
#   dispersion 0.001: gradient -16.6 in float32, -16.5 in float64
#   dispersion 0.0001: gradient 24.5 in float32, -16.9 in float64
#   dispersion 1e-05: gradient -1991.1 in float32, -17.0 in float64
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==${TORCH_VERSION:-2.13.0}" numpy
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from torch.distributions import NegativeBinomial


def gradient(dispersion, dtype):
    mean = torch.tensor(40.0, dtype=dtype)
    a = torch.tensor(dispersion, dtype=dtype, requires_grad=True)
    counts = NegativeBinomial(total_count=1 / a, logits=(mean * a).log())
    counts.log_prob(torch.tensor(43.0, dtype=dtype)).backward()
    return a.grad.item()


found = {}
for dispersion in (1e-2, 1e-3, 1e-4, 1e-5):
    found[dispersion] = narrow, wide = [gradient(dispersion, t) for t in (torch.float32, torch.float64)]
    print(f"dispersion {dispersion}: gradient {narrow:.1f} in float32, {wide:.1f} in float64")
narrow, wide = found[1e-2]
fine = abs(narrow / wide - 1) < 0.01
narrow, wide = found[1e-4]
sys.exit(not (fine and narrow > 0 > wide))
PYTHON
