"""What a pipeline cannot take part in, because it would have to look into the other threads."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.autograd import forward_ad

REMEDY = "its operations run in other threads; use the nn.GRU of GRU.to_torch()."


def refuse_what_looks_inside(tensors: Iterable[Tensor]) -> None:
    """Refuse to run where each operation is to be recorded or transformed.

    Without this the result would be wrong, or an error would speak of something else.

    Args:
        tensors: what goes in.

    Raises:
        RuntimeError: torch is tracing or exporting, or transforms functions (vmap, grad, jvp), or
            differentiates forward, or allows tensors that are kept for backward to change.
    """
    if torch._C._is_tracing() or torch.compiler.is_exporting():
        raise RuntimeError(f"gru_parallel.GRU can be neither traced nor exported: {REMEDY}")
    if torch._C._are_functorch_transforms_active():
        raise RuntimeError(
            "gru_parallel.GRU knows nothing of torch.func's vmap, grad, vjp, jvp and what is made"
            f" of them: {REMEDY}"
        )
    if any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors):
        raise RuntimeError(f"gru_parallel.GRU cannot be differentiated forward: {REMEDY}")
    if torch.autograd.graph._allow_mutation_on_saved_tensors_enabled:
        raise RuntimeError(
            "gru_parallel.GRU cannot run under allow_mutation_on_saved_tensors(): it keeps slices"
            " of what goes in, which would change with it; use the nn.GRU of GRU.to_torch()."
        )
