#!/usr/bin/env bash
# torch 2.13.0, CPU, Python 3.11: torch.export.export of nn.GRU.
#
# Expected by many: a dynamic length is dynamic for nn.GRU as for other modules, or is refused.
# Seen: Dim.DYNAMIC for time is refused, and Dim.AUTO is accepted and silently becomes the length of
# the example, while the batch stays dynamic. Only a call with another length shows it.
#
# Output:
#   batch and time DYNAMIC: refused
#   batch and time AUTO: other batch runs, other length raises AssertionError
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==${TORCH_VERSION:-2.13.0}" numpy
"$folder/venv/bin/python" -W ignore - <<'PYTHON' 2>/dev/null
import sys

import torch
from torch.export import Dim, export

gru = torch.nn.GRU(3, 4, batch_first=True).eval()
example = (torch.randn(2, 7, 3),)


def outcome(*shape: int) -> str:
    """Say what a call of the exported program with other sizes comes to."""
    try:
        program(torch.randn(*shape))
    except Exception as error:
        return f"raises {type(error).__name__}"
    return "runs"


try:
    export(gru, example, dynamic_shapes=({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},))
    refused = "accepted"
except Exception:
    refused = "refused"
print(f"batch and time DYNAMIC: {refused}")

program = export(gru, example, dynamic_shapes=({0: Dim.AUTO, 1: Dim.AUTO},)).module()
batch, length = outcome(5, 7, 3), outcome(2, 9, 3)
print(f"batch and time AUTO: other batch {batch}, other length {length}")
sys.exit(refused != "refused" or batch != "runs" or not length.startswith("raises"))
PYTHON
