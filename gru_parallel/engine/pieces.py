"""What may stand around the stack when a batch is cut, and what may hang on its modules."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import is_parametrized

from gru_parallel.engine.cells import Cells
from gru_parallel.errors import ShapeError, UsageError
from gru_parallel.model import StackModel, WindowHead, has_forward_of, looks_beyond
from gru_parallel.model.head import Head
from gru_parallel.model.ragged import longest_first

DECLARE = "set stepwise = True in the class that has its forward"


def why_uncut(encoder: nn.Module) -> str | None:
    """Say why an encoder has to run on whole batches.

    Args:
        encoder: in the mode in which it is to run.

    Returns:
        The reason, as a sentence; None where a batch may be cut for it.
    """
    beyond = looks_beyond(encoder)
    if beyond is not None:
        return (
            f"{beyond} may look beyond one time step of one row, or draws random numbers; if each"
            f" of its outputs depends on the same step of the same row alone, {DECLARE}."
        )
    if any(map(_has_hooks, encoder.modules())):
        return "a hook on a module in it is to be called once a step."
    return None


def encode_whole(
    encoder: nn.Module, x: Tensor, lengths: Tensor | None, device: torch.device
) -> Tensor:
    """Run an encoder on a whole batch, as the model in one piece does.

    Args:
        encoder: on `device`.
        x: windows, shape (batch, time, n_channels).
        lengths: time steps of each window, shape (batch,); None where all are whole.
        device: of the first stage.

    Returns:
        Inputs of the stack, shape (batch, time, input_size).

    Raises:
        ShapeError: the encoder gives out another number of steps or rows than it takes in.
    """
    x = x.to(device)
    if lengths is None:
        y: Tensor = encoder(x.transpose(0, 1)).transpose(0, 1)
    else:
        order = longest_first(lengths.cpu())
        longest = int(lengths.max())
        sorted_y = encoder(x[order, :longest].transpose(0, 1)).transpose(0, 1)
        y = functional.pad(sorted_y, (0, 0, 0, x.shape[1] - longest))[order.argsort()]
    if y.shape[:2] != x.shape[:2]:
        raise ShapeError(
            f"The encoder made {y.shape[1]} steps of {y.shape[0]} rows out of {x.shape[1]} steps of"
            f" {x.shape[0]} rows; it has to keep both: from (time, batch, channels) to (time,"
            " batch, input_size)."
        )
    return y


def check_head(head: Head, cells: Cells, *, is_whole: bool) -> None:
    """Refuse a head that would give other numbers for a batch that is cut.

    Args:
        head: in the mode in which it is to run.
        cells: of the batch.
        is_whole: whether the batch is that of all replicas.

    Raises:
        UsageError: see above.
    """
    beyond = looks_beyond(head)
    if beyond is None:
        return
    # All that it reads comes to a window's head with the last chunk.
    one_chunk = cells.n_chunks == 1 or has_forward_of(head, WindowHead)
    if is_whole and cells.lengths is None and cells.n_micro_batches == 1 and one_chunk:
        return
    raise UsageError(
        f"The head runs on the pieces of a batch, but {beyond} in it may look beyond one time step"
        " of one row, or draws random numbers. Use one micro-batch, one replica and whole windows"
        " (and one chunk, unless the head is a WindowHead), or, if each prediction depends on its"
        f" own row and step alone, {DECLARE}."
    )


def refuse_hooks(model: StackModel, *, is_cut: bool) -> None:
    """Refuse hooks on modules that a training step would call on pieces, or never.

    Hooks on parameters are called once a step, as always.

    Args:
        model: whose encoder is seen to elsewhere.
        is_cut: whether there is more than one cell.

    Raises:
        UsageError: there is one.
    """
    for name, part in _pipelined_parts(model):
        never = part in (model, model.gru, model.gru.blocks)
        if never and part._forward_pre_hooks:
            kind, problem = "before forward", "would never be called"
        elif part._backward_hooks or part._backward_pre_hooks:
            kind, problem = "on the backward", "would be called for pieces of a batch"
        elif part._forward_hooks and (is_cut or never):
            kind, problem = "after forward", "would be called for pieces of a batch, or never"
        else:
            continue
        raise UsageError(
            f"The hook {kind} of {name or 'the model'} ({type(part).__name__}) {problem}, since a"
            " pipeline calls its modules piece by piece; remove it for training, or register it on"
            " parameters, whose hooks are called once a step."
        )


def refuse_foreign_leaf(root: Tensor, weights: list[Tensor], inputs: list[Tensor]) -> None:
    """Refuse a graph with a leaf that B does not know, and whose gradient would be lost.

    Args:
        root: of the graph.
        weights: leaves that stand for weights.
        inputs: other leaves that B knows.

    Raises:
        UsageError: there is one.
    """
    known = {id(leaf) for leaf in (*weights, *inputs)}
    nodes = [root.grad_fn]
    seen = set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in known:
            raise UsageError(
                f"Head or loss compute with a tensor of shape {tuple(leaf.shape)} that requires a"
                " gradient and is neither a parameter of the head nor a target, so a pipeline"
                " would not give it one; make it a parameter of the head."
            )
        nodes += [before for before, _ in node.next_functions]


def _pipelined_parts(model: StackModel) -> Iterator[tuple[str, nn.Module]]:
    """The modules that the stages run, and those around them; with their names."""
    encoder = set(model.encoder.modules())
    of_weights = {
        inner
        for part in model.modules()
        if is_parametrized(part)
        for inner in getattr(part, "parametrizations", nn.ModuleDict()).modules()
    }
    for name, part in model.named_modules():
        if part not in encoder and part not in of_weights:
            yield name, part


def _has_hooks(part: nn.Module) -> bool:
    return bool(part._forward_hooks or part._backward_hooks or part._backward_pre_hooks)
