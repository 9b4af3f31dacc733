"""Joins blocks into one on GPUs: cuDNN overlaps the layers of one call, not those of several.

On a CPU nothing is gained, and bits could be lost: products there may depend on where in memory a
state begins, and those of several layers begin elsewhere than those of one.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from gru_parallel.model import Block, GRUBlock
from gru_parallel.model.core.own import find_core
from gru_parallel.model.flat_weights import compute_with, is_for_cudnn, weights_in_order
from gru_parallel.model.private import make_private


def joined(blocks: Sequence[Block], *, last_alone: bool) -> tuple[Block, ...]:
    """Join consecutive blocks as far as one `nn.GRU` computes what they do.

    Args:
        blocks: with no computation of the caller's own.
        last_alone: whether the last one stays by itself, since its h_n is wanted.

    Returns:
        Blocks that have the weights and the layers of those that were given, in their order.
    """
    runs: list[list[Block]] = []
    for block in blocks:
        form = _form_of(block)
        is_alone = form is None or (last_alone and block is blocks[-1])
        if runs and not is_alone and form == _form_of(runs[-1][-1]):
            runs[-1].append(block)
        else:
            runs.append([block])
    return tuple(block for run in runs for block in _joined(run))


def _form_of(block: Block) -> tuple[object, ...] | None:
    """What blocks have to share to be joined; None for a block that stays by itself.

    Dropout between layers keeps them apart in evaluation, too: cuDNN wants the weights of a call in
    one piece of memory, and they should not move whenever evaluation begins or ends.
    """
    if type(block) is not GRUBlock or block.dropout > 0.0 or block._forward_hooks:
        return None
    if find_core(block.core) is not None or not block.is_plain:
        # They run layer by layer.
        return None
    forms = {
        (block.h_0, part.hidden_size, part.bias, part.training, weights_in_order(part)[0].dtype)
        if type(part) is nn.GRU
        and not (part.bidirectional or part.batch_first or part.dropout)
        and is_for_cudnn(part)
        else None
        for part in block.gru_parts
    }
    return forms.pop() if len(forms) == 1 else None


def _joined(blocks: Sequence[Block]) -> Sequence[Block]:
    if len(blocks) == 1:
        return blocks
    first, last = blocks[0], blocks[-1]
    parts = [part for block in blocks for part in block.gru_parts]
    weights = [weight for part in parts for weight in weights_in_order(part)]
    if len({weight.data_ptr() for weight in weights}) < len(weights):
        # One that layers share cannot be in its place for each.
        return blocks
    whole = GRUBlock(
        first.input_size,
        first.hidden_size,
        sum(part.num_layers for part in parts),
        first_layer=first.first_layer,
        last=last.last,
        h_0=first.h_0,
        bias=parts[0].bias,
        device="meta",
    ).train(parts[0].training)
    (gru,) = whole.gru_parts
    compute_with(gru, weights)
    whole._parameters.clear()
    states = [getattr(block, name) for block in blocks for name in block.learned_names]
    for name, state in zip(whole.learned_names, states, strict=True):
        setattr(whole, name, state)
    if first._compiled_call_impl is not None:
        make_private(whole)
        make_private(gru)
    return [whole]
