"""The cores on CUDA: the lean one runs forward by cuDNN, both go back by their own loop."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gru_parallel.model.core.own import OWN_CORES
from gru_parallel.model.core.run import run_gru
from tests.builders import TOLERANCE, relative_error

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("no_tf32")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("core", list(OWN_CORES))
def test_a_core_computes_on_cuda_what_nn_gru_does(core: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    gru = nn.GRU(16, 24, dtype=dtype, device="cuda")
    x = torch.randn(9, 5, 16, dtype=dtype, device="cuda", requires_grad=True)
    h_0 = torch.randn(1, 5, 24, dtype=dtype, device="cuda", requires_grad=True)
    found = []
    for name in (core, "native"):
        y, h_n = run_gru(gru, x, h_0, core=name)
        loss = y.square().sum() + h_n.sum()
        found.append([y, h_n, *torch.autograd.grad(loss, [x, h_0, *gru.parameters()])])
    for ours, theirs in zip(*found, strict=True):
        assert relative_error(ours, theirs) <= TOLERANCE[dtype]
