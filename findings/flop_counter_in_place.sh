#!/usr/bin/env bash
# torch 2.13.0, CPU, Python 3.11: torch.utils.flop_counter.FlopCounterMode.
#
# Expected by many: the counter counts a matrix product however it is written.
# Seen: the methods that work in place, addmm_ and baddbmm_, count as no operation at all. The same
# products with out=, in the same memory, are counted.
#
# Output:
#   addmm: 8192
#   addmm with out=: 8192
#   addmm_: 0
#   baddbmm: 24576
#   baddbmm with out=: 24576
#   baddbmm_: 0
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==${TORCH_VERSION:-2.13.0}"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def count(product: Callable[[], object]) -> int:
    """Count the operations of one product."""
    with FlopCounterMode(display=False) as counter:
        product()
    return counter.get_total_flops()


a, b, c = torch.randn(8, 16), torch.randn(16, 32), torch.zeros(8, 32)
many = [tensor.repeat(3, 1, 1) for tensor in (a, b, c)]
found = {
    "addmm": count(lambda: torch.addmm(c, a, b)),
    "addmm with out=": count(lambda: torch.addmm(c, a, b, out=c)),
    "addmm_": count(lambda: c.addmm_(a, b)),
    "baddbmm": count(lambda: torch.baddbmm(many[2], *many[:2])),
    "baddbmm with out=": count(lambda: torch.baddbmm(many[2], *many[:2], out=many[2])),
    "baddbmm_": count(lambda: many[2].baddbmm_(*many[:2])),
}
for name, number in found.items():
    print(f"{name}: {number}")
sys.exit(list(found.values()) != [8192, 8192, 0, 3 * 8192, 3 * 8192, 0])
PYTHON
