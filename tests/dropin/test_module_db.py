"""PyTorch's own sample inputs for nn.GRU, with the drop-in in its place."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gru_parallel import GRU
from tests.dropin.twins import assert_same, gradients, weighted_sum
from tests.grids import covering


def samples(training: bool) -> Iterator[Any]:
    # Private, and it needs a package for torch's own tests.
    common_modules = pytest.importorskip(
        "torch.testing._internal.common_modules",
        reason="this torch has its sample inputs elsewhere, or lacks what they need",
        exc_type=ImportError,
    )
    # The import forbids every later test of this process to set torch's flags.
    torch.backends.flags_frozen.__globals__["__allow_nonbracketed_mutation_flag"] = True
    (info,) = (info for info in common_modules.module_db if info.module_cls is nn.GRU)
    yield from info.module_inputs_func(
        info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
    )


def flat(out: Any) -> list[Tensor]:
    output, h_n = out
    return [output if isinstance(output, Tensor) else output.data, h_n]


@covering(1, n_devices=[0, 1, 2], training=[True, False])
def test_the_samples_of_nn_gru_pass(n_devices: int, training: bool) -> None:
    n_samples = 0
    for sample in samples(training):
        arguments, options = sample.constructor_input.args, sample.constructor_input.kwargs
        torch.manual_seed(1)
        plain = nn.GRU(*arguments, **{"dtype": torch.float64, **options})
        torch.manual_seed(1)
        last = plain.num_layers - 1
        names = ["cpu:0"] * plain.num_layers
        if n_devices == 2 and last > 0:
            names[last] = "cpu:1"
        extras = {"device_map": names, "n_micro_batches": 2, "n_chunks": 3} if n_devices else {}
        ours = GRU(*arguments, **{"dtype": torch.float64, **options}, **extras)
        given = sample.forward_input
        found = []
        for gru in (ours.train(training), plain.train(training)):
            tensors = [t for t in given.args if isinstance(t, Tensor)]
            out = flat(gru(*given.args, **given.kwargs))
            leaves = [t for t in tensors if t.requires_grad]
            of_inputs = torch.autograd.grad(weighted_sum(out), leaves, retain_graph=True)
            weighted_sum(out).backward()
            found.append([*out, *of_inputs, *gradients(gru)])
        assert_same(*found)
        n_samples += 1
    assert n_samples > 5
