#!/usr/bin/env bash
# torch 2.13.0, CPU, Python 3.11: torch.compiler.disable as a decorator.
#
# Expected by many: torch.compiler.disable marks a function as not to be compiled, which matters once
# somebody calls torch.compile, and costs nothing until then.
# Seen: the decorator itself imports torch._dynamo and hundreds of modules with it, sympy among them,
# when the decorated function is defined. So a library that keeps one of its functions out of
# torch.compile almost doubles the time that it takes to import, also for those who never compile.
#
# Output (the number of modules differs a little between builds):
#   torch._dynamo before: False, after: True
#   modules loaded by the decorator: 822
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==${TORCH_VERSION:-2.13.0}" numpy
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch

before = set(sys.modules)


@torch.compiler.disable
def outside(x: torch.Tensor) -> torch.Tensor:
    return x + 1


loaded = set(sys.modules) - before
names = "torch._dynamo" in before, "torch._dynamo" in loaded
print(f"torch._dynamo before: {names[0]}, after: {names[1]}")
print(f"modules loaded by the decorator: {len(loaded)}")
sys.exit(not (names == (False, True) and "sympy" in loaded and len(loaded) > 300))
PYTHON
