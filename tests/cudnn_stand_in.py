"""Stands in for cuDNN on the CPU: refuses the recurrent calls that cuDNN refuses."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor


@contextmanager
def refuse_what_cudnn_refuses() -> Iterator[list[tuple[int, ...]]]:
    """Have torch's GRU operator take only what it takes on a GPU; yields the shapes of its inputs.

    Of these, a CPU minds none: x and h_0 that are no views, weights in one type with them, at least
    one time step, and training mode where there may be a backward.
    """
    shapes: list[tuple[int, ...]] = []
    gru: Callable[..., tuple[Tensor, Tensor]] = torch._VF.gru

    def strict(
        x: Tensor, h_0: Tensor, weights: list[Tensor], *options: Any
    ) -> tuple[Tensor, Tensor]:
        _, _, dropout, train, _, batch_first = options
        assert isinstance(weights, list | tuple), "a packed sequence"
        assert x.is_contiguous(), "rnn: x is not contiguous"
        assert h_0.is_contiguous(), "rnn: hx is not contiguous"
        assert x.shape[1 if batch_first else 0] > 0, "Expected sequence length to be larger than 0"
        tensors = (x, h_0, *weights)
        if not torch.is_autocast_enabled("cpu"):
            assert len({tensor.dtype for tensor in tensors}) == 1, (
                "input and parameter types differ"
            )
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            assert train, "cudnn RNN backward can only be called in training mode"
        assert dropout == 0.0, "a dropout of cuDNN's own"
        shapes.append(tuple(x.shape))
        return gru(x, h_0, weights, *options)

    with patch.object(torch._VF, "gru", strict), patch.object(torch, "gru", strict):
        yield shapes
