"""What decays: matrices that multiply what comes in, and nothing that a step passes to the next."""

import pytest
import torch
from torch import nn

from gru_parallel.model import GRUStack, StackModel, StepEncoder, WindowHead
from gru_parallel.model.decay import by_decay

STACK = GRUStack(6, 8, 2, bidirectional=[True, False], h_0="learned", norm="layer")
MODEL = StackModel(nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6)), STACK, WindowHead(8, (5, 2)))


def names_of(group: list[nn.Parameter]) -> set[str]:
    return {name for name, weight in MODEL.named_parameters() if any(weight is w for w in group)}


def test_matrices_of_inputs_decay_and_all_else_does_not() -> None:
    decayed, kept = by_decay(MODEL, list(MODEL.parameters()))

    assert names_of(decayed["params"]) == {
        "encoder.0.weight",
        "gru.blocks.0.parts.0.weight_ih_l0",
        "gru.blocks.0.parts.1.weight_ih_l0",
        "gru.blocks.1.parts.0.weight_ih_l0",
        "head.linear.weight",
    }
    others = names_of(kept["params"])
    for name in ("weight_hh_l0", "bias_ih_l0", "norm_weight_l0", "h_0_l0", "encoder.1.bias"):
        assert any(other.endswith(name) for other in others)
    assert len(others) + 5 == len(list(MODEL.parameters()))


def test_an_optimiser_shrinks_only_what_decays() -> None:
    before = {name: weight.detach().clone() for name, weight in MODEL.named_parameters()}
    groups = by_decay(MODEL, list(MODEL.parameters()))
    optimizer = torch.optim.AdamW(groups, lr=0.1, weight_decay=0.5)
    for weight in MODEL.parameters():
        weight.grad = torch.zeros_like(weight)

    optimizer.step()

    changed = {name for name, w in MODEL.named_parameters() if not torch.equal(w, before[name])}
    assert changed == names_of(groups[0]["params"])


@pytest.mark.parametrize(
    "module", [nn.Embedding(3, 4), StepEncoder(5, 4, n_channels=3, n_decoding=2)], ids=str
)
def test_embeddings_do_not_decay(module: nn.Module) -> None:
    decayed, kept = by_decay(module, list(module.parameters()))

    linear = [p for name, p in module.named_parameters() if name == "linear.weight"]
    assert len(decayed["params"]) == len(linear)
    assert len(kept["params"]) == len(list(module.parameters())) - len(linear)
