#!/usr/bin/env bash
# torch 2.13.0, CPU, Python 3.11: selective activation checkpointing around nn.GRU.
#
# Expected by many: a selective checkpoint changes what is kept and what is computed again, and no
# gradient; where a kept tensor is changed in place later, which it cannot bear, it says so
# (pytorch/pytorch#119590 is about that).
# Seen: where the products of aten.addmm are kept, gradients of nn.GRU are wrong, without an error.
# On the CPU its gates are made of those products in place. A checkpoint that keeps nothing, or
# aten.mm only, is right.
#
# Output:
#   plain checkpoint: largest difference of a gradient 0.0
#   keeps aten.mm: largest difference of a gradient 0.0
#   keeps aten.addmm: largest difference of a gradient 0.37
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==${TORCH_VERSION:-2.13.0}"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

torch.manual_seed(0)
gru = nn.GRU(3, 4, dtype=torch.float64)
x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)


def gradients(*, checkpointed: bool, **options):
    """Return the gradients by the input and the weights."""
    y, _ = checkpoint(gru, x, use_reentrant=False, **options) if checkpointed else gru(x)
    return torch.autograd.grad(y.square().sum(), [x, *gru.parameters()])


def keeping(operation):
    """Say that a checkpoint keeps what an operation gives out."""
    contexts = partial(create_selective_checkpoint_contexts, [operation.default])
    return {"context_fn": contexts}


expected = gradients(checkpointed=False)
cases = {
    "plain checkpoint": {},
    "keeps aten.mm": keeping(torch.ops.aten.mm),
    "keeps aten.addmm": keeping(torch.ops.aten.addmm),
}
errors = []
for name, options in cases.items():
    found = gradients(checkpointed=True, **options)
    errors.append(max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)))
    print(f"{name}: largest difference of a gradient {errors[-1]:.2}")
sys.exit(not (errors[0] == errors[1] == 0.0 and errors[2] > 0.01))
PYTHON
