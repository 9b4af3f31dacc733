#!/usr/bin/env bash
# torch 2.13.0, CPU, Python 3.11: torch.utils.flop_counter.FlopCounterMode.
#
# Expected by many: a counter counts, and changes nothing that can be computed.
# Seen: where the input of a module is a leaf that requires a gradient, torch.autograd.grad by it
# raises a RuntimeError under the counter, which puts a hook on the inputs of every module. With
# loss.backward(), or with a copy of the leaf as the input, it counts. Reported for torch 2.4 as
# pytorch/pytorch#131753.
#
# Output:
#   without the counter: gradient of shape (4, 3)
#   under the counter: RuntimeError: A leaf node was passed to _will_engine_execute_node but
#   under the counter, with backward(): 144 operations
#   under the counter, with a copy of the leaf: gradient of shape (4, 3)
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==${TORCH_VERSION:-2.13.0}"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

linear = nn.Linear(3, 2)
leaf = torch.randn(4, 3, requires_grad=True)


def gradient(x: torch.Tensor) -> str:
    """Differentiate by the input; say what came of it."""
    try:
        (found,) = torch.autograd.grad(linear(x).sum(), [leaf])
    except RuntimeError as error:
        return f"RuntimeError: {str(error)[:56]}"
    return f"gradient of shape {tuple(found.shape)}"


plain = gradient(leaf)
with FlopCounterMode(display=False):
    counted = gradient(leaf)
with FlopCounterMode(display=False) as counter:
    linear(leaf).sum().backward()
with FlopCounterMode(display=False):
    copied = gradient(leaf.clone())
print("without the counter:", plain)
print("under the counter:", counted)
print("under the counter, with backward():", counter.get_total_flops(), "operations")
print("under the counter, with a copy of the leaf:", copied)
as_described = plain == copied == "gradient of shape (4, 3)" and counter.get_total_flops() == 144
sys.exit(not (as_described and "_will_engine_execute_node" in counted))
PYTHON
