#!/usr/bin/env bash
# torch 2.13.0, CPU, Python 3.11: torch.autograd.graph.allow_mutation_on_saved_tensors.
#
# Expected by many: within the context, a tensor that autograd has saved is copied before it is
# changed in place, so that backward sees what forward saw.
# Seen: that holds for the tensor itself, and for views that begin where it begins. Where autograd has
# saved a slice that begins further on, a change of the whole tensor reaches what was saved, and
# the gradient is wrong, without an error. Outside the context the same change is refused.
#
# Output:
#   saved x[0:], gradient by w: right
#   saved x[1:], gradient by w: wrong, [0.0, 0.0, 0.0] instead of [2.0, 3.0, 4.0]
#   outside the context: refused
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==${TORCH_VERSION:-2.13.0}"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch


def gradient(first: int) -> tuple[list[float], list[float]]:
    """Save a slice, overwrite the whole, and go back; return gradient and what it should be."""
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    part = x[first:]
    w = torch.ones_like(part).requires_grad_()
    expected = part.tolist()
    loss = (part * w).sum()
    x.zero_()
    loss.backward()
    return w.grad.tolist(), expected


is_right = []
for first in (0, 1):
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        found, expected = gradient(first)
    is_right.append(found == expected)
    said = "right" if found == expected else f"wrong, {found} instead of {expected}"
    print(f"saved x[{first}:], gradient by w: {said}")
try:
    gradient(1)
    is_refused = False
except RuntimeError:
    is_refused = True
print("outside the context:", "refused" if is_refused else "not refused")
sys.exit((is_right, is_refused) != ([True, False], True))
PYTHON
