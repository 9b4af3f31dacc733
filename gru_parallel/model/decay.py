"""Which weights decay: all of them, or the matrices alone that no step passes to the next."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn


def by_decay(model: nn.Module, weights: Collection[nn.Parameter]) -> list[dict[str, Any]]:
    """Put weights into two groups of an optimiser: those that decay, and those that do not.

    Matrices decay that multiply what comes in: those of encoder and head, and in each layer those
    of its inputs. Decay would pull the matrices of the state, too, towards forgetting all; biases,
    norms, learned states and embeddings have no reason to be small.

    Args:
        model: whose weights they are.
        weights: to be trained.

    Returns:
        Groups for an optimiser of torch, each with at least the key `params`.
    """
    embedded = {
        weight
        for part in model.modules()
        if isinstance(part, nn.Embedding | nn.EmbeddingBag)
        for weight in part.parameters()
    }
    decayed = {
        weight
        for name, weight in model.named_parameters()
        if weight.dim() > 1 and "weight_hh" not in name and weight not in embedded
    }
    kept = [weight for weight in weights if weight not in decayed]
    return [
        {"params": [weight for weight in weights if weight in decayed]},
        {"params": kept, "weight_decay": 0.0},
    ]


def to_optimize(model: nn.Module, decayed: str) -> list[nn.Parameter] | list[dict[str, Any]]:
    """List what an optimiser of this process is made for.

    Args:
        model: whose weights are trained, all that want gradients.
        decayed: which of them decay, one of `DECAYED`.

    Returns:
        Weights, or groups of them: see `by_decay`.
    """
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    # Weights on the meta device are in the hands of another rank.
    weights = [weight for weight in trained if not weight.is_meta]
    if decayed != "all":
        return by_decay(model, weights)
    # Where others have all of them, torch refuses a list without any, but not a group.
    return weights if weights or not trained else [{"params": weights}]
