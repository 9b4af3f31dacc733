#!/usr/bin/env bash
# torch 2.13.0, CPU (x86-64, MKL), Python 3.11: nn.functional.linear of a few rows in float32.
#
# Expected by many: equal numbers of equal shape and stride give equal bits, in one process with one
# thread, wherever in memory they lie.
# Seen: with three rows of 100 features the last digits depend on whether the input starts at a
# multiple of 16 bytes. A slice of a larger tensor is not what a copy of it is; so the states of
# several layers of an nn.GRU, which lie one after the other, can give other bits than the same layers
# called one by one.
#
# Output:
#   starts at 0 mod 16 bytes: 1 result; at all 16 starts: 4 results, at most 3.8e-06 apart
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==${TORCH_VERSION:-2.13.0}" numpy
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from torch.nn import functional

torch.set_num_threads(1)
torch.manual_seed(0)
n_rows, width = 3, 100
weight, bias, x = torch.randn(48, width), torch.randn(48), torch.randn(n_rows, width)
memory = torch.empty(n_rows * width + 16)
results = {}
for start in range(16):
    piece = memory[start : start + n_rows * width].view(n_rows, width)
    piece.copy_(x)
    results[piece.data_ptr() % 64] = functional.linear(piece, weight, bias)
aligned = [y for where, y in results.items() if where % 16 == 0]


def n_kinds(found):
    kinds = []
    for y in found:
        if not any(torch.equal(y, kind) for kind in kinds):
            kinds.append(y)
    return len(kinds)


apart = max((y - aligned[0]).abs().max().item() for y in results.values())
print(
    f"starts at 0 mod 16 bytes: {n_kinds(aligned)} result; at all 16 starts:"
    f" {n_kinds(results.values())} results, at most {apart:.1e} apart"
)
sys.exit(not (n_kinds(aligned) == 1 and n_kinds(results.values()) > 1))
PYTHON
