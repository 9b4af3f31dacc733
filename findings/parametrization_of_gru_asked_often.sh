#!/usr/bin/env bash
# torch 2.13.0, CPU, Python 3.11: nn.GRU with parametrized weights.
#
# Expected by many: one call of a module computes each parametrized weight once, as nn.Linear does;
# spectral_norm makes one step of its power iteration in a call in training.
# Seen: a call of nn.GRU computes the first parametrized weight four times and every other one twice:
# it looks whether there is such an attribute and then reads it, once to see whether weights have
# changed and once to take them. So spectral_norm makes four and two steps in a call.
#
# Output:
#   nn.Linear: weight 1
#   nn.GRU: weight_hh_l0 4, weight_hh_l1 2
#   steps of the power iteration of spectral_norm in one call of nn.GRU: 4
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==${TORCH_VERSION:-2.13.0}"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize


class Counting(nn.Module):
    """Leaves a weight as it is, and counts how often it is asked for it."""

    n_asked = 0

    def forward(self, weight):
        self.n_asked += 1
        return weight * 1.0


def n_asked(module: nn.Module, names: list[str], x: torch.Tensor) -> list[int]:
    """Count how often one call of a module asks for each of some weights."""
    counters = []
    for name in names:
        counters.append(Counting())
        parametrize.register_parametrization(module, name, counters[-1])
    module(x)
    for counter in counters:
        counter.n_asked = 0
    module(x)
    return [counter.n_asked for counter in counters]


def n_power_iterations() -> int:
    """Find out how many steps of the power iteration one call of nn.GRU makes."""
    torch.manual_seed(0)
    gru = nn.GRU(3, 4, dtype=torch.float64)
    parametrizations.spectral_norm(gru, "weight_hh_l0")
    norm = gru.parametrizations.weight_hh_l0[0]
    u, weight = norm._u.clone(), gru.parametrizations.weight_hh_l0.original.detach()
    gru(torch.randn(5, 2, 3, dtype=torch.float64))
    for n_steps in range(1, 20):
        v = nn.functional.normalize(weight.T @ u, dim=0)
        u = nn.functional.normalize(weight @ v, dim=0)
        if torch.allclose(u, norm._u, rtol=0, atol=1e-13):
            return n_steps
    return -1


of_linear = n_asked(nn.Linear(3, 4), ["weight"], torch.randn(2, 3))
names = ["weight_hh_l0", "weight_hh_l1"]
of_gru = n_asked(nn.GRU(3, 4, 2), names, torch.randn(5, 2, 3))
n_steps = n_power_iterations()
print(f"nn.Linear: weight {of_linear[0]}")
print("nn.GRU:", ", ".join(f"{name} {n}" for name, n in zip(names, of_gru, strict=True)))
print("steps of the power iteration of spectral_norm in one call of nn.GRU:", n_steps)
sys.exit((of_linear, of_gru, n_steps) != ([1], [4, 2], 4))
PYTHON
