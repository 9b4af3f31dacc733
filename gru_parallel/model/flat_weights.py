"""The weights that an `nn.GRU` computes with: whose they are, and where they lie."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import cast

from torch import Tensor, nn

from gru_parallel.model.autocast import cudnn_takes, flatten


def weights_in_order(gru: nn.GRU) -> list[Tensor]:
    """Return what a GRU computes with, in its order."""
    return cast("list[Tensor]", gru._flat_weights)


def compute_with(gru: nn.GRU, weights: Sequence[Tensor]) -> None:
    """Let a GRU compute with these tensors in the place of its parameters."""
    gru._parameters.clear()
    for name, weight in zip(gru._flat_weights_names, weights, strict=True):
        setattr(gru, name, weight)
    # Or else nn.GRU would think them new at its next call, and move them.
    refs = [weakref.ref(weight) for weight in weights]
    gru._flat_weight_refs = cast("list[weakref.ref[nn.Parameter] | None]", refs)


def flatten_all(grus: Iterable[nn.GRU], weight_of: Mapping[Tensor, Tensor]) -> None:
    """Put what a GRU on a GPU computes with into one piece of memory, for each that is not yet so.

    cuDNN copies weights that lie apart at every call, and keeps each copy until its backward.

    Args:
        grus: all those with a share in the weights.
        weight_of: what leaves in the place of weights stand for; a parameter that shares a leaf's
            memory moves with it.
    """
    weights = {gru: weights_in_order(gru) for gru in grus}
    apart = [gru for gru, own in weights.items() if is_for_cudnn(gru) and not _are_flat(gru)]
    if not apart:
        return
    others = weight_of.keys() - set(chain(*weights.values()))
    n_uses = Counter(leaf.data_ptr() for leaf in chain(others, *weights.values()))
    for gru in apart:
        # One that another needs in its own piece of memory stays where it is.
        if all(n_uses[leaf.data_ptr()] == 1 for leaf in weights[gru]):
            _flatten(gru, weight_of)


def is_for_cudnn(gru: nn.GRU) -> bool:
    """Whether cuDNN is what computes a GRU."""
    return all(map(cudnn_takes, weights_in_order(gru)))


def _flatten(gru: nn.GRU, weight_of: Mapping[Tensor, Tensor]) -> None:
    leaves = weights_in_order(gru)
    # Through .data, because autograd would take other memory for other values.
    pieces = [leaf.data for leaf in leaves]
    flatten(gru, pieces)
    for leaf, piece in zip(leaves, pieces, strict=True):
        weight = weight_of.get(leaf)
        if isinstance(weight, nn.Parameter) and weight.data_ptr() == leaf.data_ptr():
            weight.data = piece
        leaf.data = piece


def _are_flat(gru: nn.GRU) -> bool:
    """Whether weights lie in a piece of memory that holds them alone."""
    weights = weights_in_order(gru)
    storages = {weight.untyped_storage().data_ptr() for weight in weights}
    n_bytes = [weight.nbytes for weight in weights]
    # cuDNN may leave some room between them, and has room for biases whether there are any or not.
    spare = weights[0].untyped_storage().nbytes() - sum(n_bytes)
    if not gru.bias:
        spare -= 2 * sum(len(weight) * weight.element_size() for weight in weights[::2])
    return len(storages) == 1 and spare < min(n_bytes)
