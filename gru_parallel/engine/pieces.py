"""What may stand around the stack when a batch is cut, and what may hang on its modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from gru_parallel.engine.cells import Cells
from gru_parallel.errors import ShapeError, UsageError
from gru_parallel.model import (
    BidirectionalBlock,
    Block,
    GRUBlock,
    GRUStack,
    StackModel,
    WindowHead,
    has_forward_of,
    is_declared,
    looks_beyond,
)
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
    if any(_has_hooks(part) or _wants_inputs(part) for part in encoder.modules()):
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


def check_forwards(model: StackModel, *, is_cut: bool) -> None:
    """Refuse a `forward` of the caller's own that a pipeline would not call, or not as a whole.

    Args:
        model: encoder and head are seen to elsewhere.
        is_cut: whether there is more than one cell.

    Raises:
        UsageError: there is one.
    """
    both_ways = [block for block in model.gru.gru_blocks if block.n_directions == 2]
    never: list[tuple[nn.Module, type[nn.Module], tuple[str, ...]]] = [
        (model, StackModel, ("forward", "run", "__call__")),
        (model.gru, GRUStack, ("forward", "__call__")),
        *((b, BidirectionalBlock, ("forward", "run_direction", "join")) for b in both_ways),
    ]
    for module, kind, methods in never:
        own = next((name for name in methods if not _has_method_of(module, kind, name)), None)
        if own is not None:
            raise UsageError(
                f"{type(module).__name__} has a {own} of its own, which a pipeline does not call:"
                f" it runs what a {kind.__name__} is made of. Put what it does into the encoder,"
                " the head or a module around the model."
            )
    parts = [(part, nn.GRU) for block in model.gru.gru_blocks for part in block.gru_parts]
    blocks = [(block, GRUBlock) for block in model.gru.gru_blocks if block.n_directions == 1]
    for module, kind in (*parts, *blocks) if is_cut else ():
        # Where one object's forward was replaced, no stand-in can be made of it.
        is_own = "forward" not in module.__dict__ and not has_forward_of(module, kind)
        if is_own and not is_declared(module):
            raise UsageError(
                f"{type(module).__name__} has a forward of its own, which is called for pieces of a"
                " batch, with the state that the piece before left; if its outputs then are those"
                f" of the whole, {DECLARE}, else use one micro-batch and one chunk."
            )


def has_own_forward(block: Block) -> bool:
    """Whether a block computes by a class of the caller's own."""
    own = any(not _has_method_of(block, GRUBlock, name) for name in ("forward", "drop"))
    return own or any(map(has_own_computation, block.gru_parts))


def has_own_computation(part: nn.GRU) -> bool:
    """Whether a part computes by a class, or a hook, of the caller's own."""
    return not has_forward_of(part, nn.GRU) or bool(part._forward_hooks)


def refuse_hooks(model: StackModel, *, is_cut: bool) -> None:
    """Refuse hooks on modules that a training step would call on pieces, or never.

    Hooks on parameters are called once a step, as always.

    Args:
        model: whose encoder is seen to elsewhere.
        is_cut: whether there is more than one cell.

    Raises:
        UsageError: there is one.
    """
    refuse_hooks_never_called(model)
    for name, part in _pipelined_parts(model):
        if part._backward_hooks or part._backward_pre_hooks:
            raise _hook_refused("on the backward", name, part, "would be called for pieces")
        if part._forward_hooks and (is_cut or isinstance(part, BidirectionalBlock)):
            raise _hook_refused("after forward", name, part, "would be called for pieces")


def refuse_hooks_never_called(model: StackModel) -> None:
    """Refuse hooks on the modules around the blocks, which a pipeline calls one by one.

    Raises:
        UsageError: there is one.
    """
    around = {"the model": model, "gru": model.gru, "gru.blocks": model.gru.blocks}
    for name, part in around.items():
        if _has_hooks(part) or part._forward_pre_hooks:
            raise _hook_refused("around forward or backward", name, part, "would never be called")


def _hook_refused(kind: str, name: str, part: nn.Module, problem: str) -> UsageError:
    return UsageError(
        f"The hook {kind} of {name} ({type(part).__name__}) {problem}, since a pipeline calls its"
        " modules piece by piece; remove it, or register it on parameters, whose hooks are called"
        " once a step."
    )


def refuse_foreign_leaf(
    what: str, root: Tensor, weights: Sequence[Tensor], inputs: Sequence[Tensor]
) -> None:
    """Refuse a graph with a leaf that B does not know, and whose gradient would be lost.

    Args:
        what: has made it.
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
                f"{what} computes with a tensor of shape {tuple(leaf.shape)} that requires a"
                " gradient and is no parameter that a pipeline could find in it, so it would get"
                " none; make it a parameter of the module that uses it, found by its name."
            )
        nodes += [before for before, _ in node.next_functions]


def _has_method_of(module: nn.Module, kind: type[nn.Module], name: str) -> bool:
    own = type(module)
    return name not in module.__dict__ and getattr(own, name) is getattr(kind, name)


def _pipelined_parts(model: StackModel) -> Iterator[tuple[str, nn.Module]]:
    """The modules that stages call, with their names."""
    tops = {f"gru.blocks.{i}": block for i, block in enumerate(model.gru.gru_blocks)}
    for name, top in {**tops, "head": model.head}.items():
        for inner, part in top.named_modules():
            # How a weight is made is asked once a step.
            if "parametrizations" not in inner.split("."):
                yield f"{name}.{inner}".rstrip("."), part


def _has_hooks(part: nn.Module) -> bool:
    return bool(part._forward_hooks or part._backward_hooks or part._backward_pre_hooks)


def _wants_inputs(part: nn.Module) -> bool:
    """Whether a hook before forward is not one of those by which torch makes weights."""
    makers = (WeightNorm, SpectralNorm, BasePruningMethod)
    return not all(isinstance(hook, makers) for hook in part._forward_pre_hooks.values())
