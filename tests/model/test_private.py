"""Private modules: no hook sees their calls."""

import torch
from torch import nn

from gru_parallel.model.private import make_private


def test_no_hook_fires_for_private_modules() -> None:
    seen: list[object] = []
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Tanh()))
    expected = model(torch.ones(2))

    for module in model.modules():
        make_private(module)
    model[0].register_forward_hook(lambda *_: seen.append(1))
    handle = nn.modules.module.register_module_forward_pre_hook(lambda *_: seen.append(2))
    actual = model(torch.ones(2))
    handle.remove()

    assert torch.equal(actual, expected)
    assert seen == []
    assert isinstance(model[1], nn.Sequential)
    assert repr(model).startswith("Sequential(")
