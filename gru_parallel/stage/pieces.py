"""What may come before and after the stack when a batch is cut: encoders and heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from gru_parallel.errors import ShapeError, UsageError
from gru_parallel.model import (
    WindowHead,
    has_forward_of,
    looks_beyond,
)
from gru_parallel.model.head import Head
from gru_parallel.model.ragged import longest_first
from gru_parallel.stage.cells import Cells

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
    if any(has_hooks(part) or _wants_inputs(part) for part in encoder.modules()):
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
        runs = torch.arange(longest, device=x.device) < lengths[order].to(x.device).unsqueeze(1)
        # What lies after a window's end is never read, even where it is NaN.
        rows = x[order, :longest].masked_fill(~runs.unsqueeze(2), 0.0)
        sorted_y = encoder(rows.transpose(0, 1)).transpose(0, 1)
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
        " (and one chunk, unless the head keeps WindowHead.forward), or, if each prediction depends"
        f" on its own row and step alone, {DECLARE}."
    )


def has_hooks(part: nn.Module) -> bool:
    """Whether a module has hooks after its forward or on its backward."""
    return bool(part._forward_hooks or part._backward_hooks or part._backward_pre_hooks)


def _wants_inputs(part: nn.Module) -> bool:
    """Whether a hook before forward is not one of those by which torch makes weights."""
    makers = (WeightNorm, SpectralNorm, BasePruningMethod)
    return not all(isinstance(hook, makers) for hook in part._forward_pre_hooks.values())
