"""What a pipeline cannot take part in, because it would have to look into the other threads."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.autograd import forward_ad

REMEDY = "its operations run in other threads; use the nn.GRU of GRU.to_torch()."


def refuse_what_looks_inside(
    tensors: Iterable[Tensor], what: str = "gru_parallel.GRU", remedy: str = REMEDY
) -> None:
    """Refuse to run where each operation is to be recorded or transformed.

    Without this the result would be wrong, or an error would speak of something else.

    Args:
        tensors: what goes in.
        what: is run.
        remedy: what to do instead.

    Raises:
        RuntimeError: torch is tracing or exporting, or transforms functions (vmap, grad, jvp), or
            differentiates forward, or allows tensors that are kept for backward to change.
    """
    if torch._C._is_tracing() or torch.compiler.is_exporting():
        raise RuntimeError(f"{what} can be neither traced nor exported: {remedy}")
    if torch._C._are_functorch_transforms_active():
        raise RuntimeError(
            f"{what} knows nothing of torch.func's vmap, grad, vjp, jvp and what is made of them:"
            f" {remedy}"
        )
    if any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors):
        raise RuntimeError(f"{what} cannot be differentiated forward: {remedy}")
    if torch.autograd.graph._allow_mutation_on_saved_tensors_enabled:
        raise RuntimeError(
            f"{what} cannot run under allow_mutation_on_saved_tensors(), since it keeps slices of"
            f" what goes in, which would change with it: {remedy}"
        )
