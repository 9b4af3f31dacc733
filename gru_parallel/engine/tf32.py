"""TF32: what float32 products on CUDA may round to, in cuDNN (recurrent layers) and cuBLAS."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def tf32(allowed: bool | None) -> Iterator[None]:
    """Allow TF32 inside, or forbid it; None leaves everything as it is.

    By default torch allows it in cuDNN and not in cuBLAS.
    """
    if allowed is None:
        yield
        return
    before = uses_tf32(), torch.backends.cuda.matmul.fp32_precision == "tf32"
    _set(allowed, allowed)
    try:
        yield
    finally:
        _set(*before)


def uses_tf32() -> bool:
    """Whether recurrent layers of float32 may use TF32 on CUDA."""
    # What torch.backends.cudnn.rnn.fp32_precision reads: before torch 2.11 that attribute is gone
    # once somebody has imported the module of this name.
    bindings: Any = torch._C
    return bool(bindings._get_fp32_precision_getter("cuda", "rnn") == "tf32")


def _set(cudnn: bool, cublas: bool) -> None:
    # The older of torch's two ways, of which torch 2.9 warns: after the newer one, Lightning and
    # others who ask in the older way get an error.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please use the new API")
        torch.backends.cudnn.allow_tf32 = cudnn
        torch.backends.cuda.matmul.allow_tf32 = cublas
