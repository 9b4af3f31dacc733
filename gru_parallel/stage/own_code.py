"""What the caller's own code may do to the modules of a pipeline: classes and hooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import FunctionType

from torch import nn

from gru_parallel.errors import UsageError
from gru_parallel.model import (
    BidirectionalBlock,
    Block,
    GRUBlock,
    GRUStack,
    StackModel,
    SumLoss,
    has_forward_of,
    is_declared,
)
from gru_parallel.model.output import is_known
from gru_parallel.stage.pieces import DECLARE, has_hooks


def check_forwards(model: StackModel, *, is_cut: bool) -> None:
    """Refuse a `forward` of the caller's own that a pipeline would not call, or not as a whole.

    Args:
        model: of the caller; its encoder and head are checked in pieces.py.
        is_cut: whether there is more than one cell.

    Raises:
        UsageError: there is one.
    """
    two_way = [block for block in model.gru.gru_blocks if block.n_directions == 2]
    never: list[tuple[nn.Module, type[nn.Module], tuple[str, ...]]] = [
        (model, StackModel, ("forward", "run", "__call__")),
        (model.gru, GRUStack, ("forward", "__call__")),
        *((b, BidirectionalBlock, ("forward", "run_direction", "join")) for b in two_way),
    ]
    for module, kind, methods in never:
        name = next((name for name in methods if not _has_method_of(module, kind, name)), None)
        if name is not None:
            raise UsageError(
                f"{type(module).__name__} has a {name} of its own, which a pipeline does not call:"
                f" it runs what a {kind.__name__} is made of. Put what it does into the encoder,"
                " the head or a module around the model."
            )
    parts = [(part, nn.GRU) for block in model.gru.gru_blocks for part in block.gru_parts]
    blocks = [(block, GRUBlock) for block in model.gru.gru_blocks if block.n_directions == 1]
    for module, kind in (*parts, *blocks) if is_cut else ():
        # If the forward of one object was replaced, making its stand-in is refused.
        is_own = "forward" not in module.__dict__ and not has_forward_of(module, kind)
        if is_own and not is_declared(module):
            raise UsageError(
                f"{type(module).__name__} has a forward of its own, which is called for pieces of a"
                " batch, with the state that the piece before left; if its outputs then are those"
                f" of the whole, {DECLARE}, else use one micro-batch and one chunk."
            )


def has_own_forward(block: Block) -> bool:
    """Whether a block computes by a class of the caller's own."""
    methods = (_has_method_of(block, GRUBlock, name) for name in ("forward", "drop"))
    return not all(methods) or any(map(has_own_computation, block.gru_parts))


def has_own_computation(part: nn.GRU) -> bool:
    """Whether a part computes by a class, or a hook, of the caller's own."""
    return not has_forward_of(part, nn.GRU) or bool(part._forward_hooks)


def refuse_hooks(model: StackModel, *, is_cut: bool) -> None:
    """Refuse hooks on modules that a training step would call on pieces.

    Hooks on parameters are called once a step, as always.

    Args:
        model: of the caller; its encoder is checked in pieces.py.
        is_cut: whether there is more than one cell.

    Raises:
        UsageError: there is one.
    """
    for name, part in _pipelined_parts(model):
        if part._backward_hooks or part._backward_pre_hooks:
            raise _hook_refused("on the backward", name, part, "would be called for pieces")
        if part._forward_hooks and is_cut:
            raise _hook_refused("after forward", name, part, "would be called for pieces")


def refuse_hooks_never_called(model: StackModel) -> None:
    """Refuse hooks on modules that a pipeline does not call, in training and in predictions.

    These are the modules around the blocks, which it calls one by one, and bidirectional blocks,
    of which it calls one direction at a time. Hooks before the forward of a block are run where its
    weights are read.

    Raises:
        UsageError: there is one.
    """
    around = {"the model": model, "gru": model.gru, "gru.blocks": model.gru.blocks}
    for name, part in around.items():
        if has_hooks(part) or part._forward_pre_hooks:
            raise _hook_refused("around forward or backward", name, part, "would never be called")
    for i, block in enumerate(model.gru.gru_blocks):
        if block.n_directions == 2 and block._forward_hooks:
            name = f"gru.blocks.{i}"
            raise _hook_refused("after forward", name, block, "would never be called")


def _hook_refused(kind: str, name: str, part: nn.Module, problem: str) -> UsageError:
    return UsageError(
        f"The hook {kind} of {name} ({type(part).__name__}) {problem}, since a pipeline calls its"
        " modules piece by piece; remove it, or register it on parameters, whose hooks are called"
        " once a step."
    )


def _has_method_of(module: nn.Module, kind: type[nn.Module], name: str) -> bool:
    return name not in module.__dict__ and getattr(type(module), name) is getattr(kind, name)


def _pipelined_parts(model: StackModel) -> Iterator[tuple[str, nn.Module]]:
    """The modules that stages call, with their names."""
    tops = {f"gru.blocks.{i}": block for i, block in enumerate(model.gru.gru_blocks)}
    for name, top in {**tops, "head": model.head}.items():
        for inner, part in top.named_modules():
            # How a weight is made is asked once a step.
            if "parametrizations" not in inner.split("."):
                yield f"{name}.{inner}".rstrip("."), part


def foreign_code(modules: Iterable[nn.Module], loss: SumLoss | None) -> str | None:
    """Find code that is neither torch's nor this library's.

    Args:
        modules: that stages run.
        loss: of the training; None for none.

    Returns:
        What has it; None where nothing has.
    """
    if loss is not None and not is_known(loss):
        return f"The loss {loss.name}"
    parts = (part for module in modules for part in module.modules())
    return next((type(part).__name__ for part in parts if not _is_ours(part)), None)


def _is_ours(part: nn.Module) -> bool:
    # A function that a module was given may be anybody's, such as an activation.
    functions = [each for each in vars(part).values() if isinstance(each, FunctionType)]
    return all(each.__module__.partition(".")[0] in _OUR_HOMES for each in (type(part), *functions))


_OUR_HOMES = ("torch", __name__.partition(".")[0])
