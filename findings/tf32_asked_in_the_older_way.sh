#!/usr/bin/env bash
# torch 2.13.0, CPU, Python 3.11: settings of TF32 by fp32_precision, read by those who know the older
# names.
#
# Expected by many: torch has two names for each of these settings, and both can be read at any time;
# reading a setting raises no error, at least not torch.get_float32_matmul_precision, which is not
# deprecated.
# Seen: after torch.backends.cuda.matmul.fp32_precision has been set to "tf32" and that of cuDNN's
# recurrent layers to "ieee", each of the older names raises a RuntimeError when it is read. So a
# library that sets TF32 in the newer way breaks every other library that asks in the older one.
#
# Output:
#   before: cudnn.allow_tf32 True, cuda.matmul.allow_tf32 False, get_float32_matmul_precision highest
#   after: cudnn.allow_tf32 RuntimeError
#   after: cuda.matmul.allow_tf32 RuntimeError
#   after: get_float32_matmul_precision RuntimeError
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==${TORCH_VERSION:-2.13.0}" numpy
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch

older = {
    "cudnn.allow_tf32": lambda: torch.backends.cudnn.allow_tf32,
    "cuda.matmul.allow_tf32": lambda: torch.backends.cuda.matmul.allow_tf32,
    "get_float32_matmul_precision": torch.get_float32_matmul_precision,
}
print("before: " + ", ".join(f"{name} {read()}" for name, read in older.items()))
torch.backends.cuda.matmul.fp32_precision = "tf32"
torch.backends.cudnn.rnn.fp32_precision = "ieee"
n_errors = 0
for name, read in older.items():
    try:
        print(f"after: {name} {read()}")
    except RuntimeError as error:
        n_errors += 1
        print(f"after: {name} {type(error).__name__}")
sys.exit(n_errors != len(older))
PYTHON
