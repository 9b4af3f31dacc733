"""Stands in for cuDNN on the CPU: refuses the recurrent calls that cuDNN refuses."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from gru_parallel.choices import AUTO_CORES
from gru_parallel.model import autocast


class Call(NamedTuple):
    """A call of the recurrent operator: the shape of x, and the type of all that it took in."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    n_weights: int


@contextmanager
def refuse_what_cudnn_refuses(*, copies_weights: bool = False) -> Iterator[list[Call]]:
    """Have torch's GRU operator take only what it takes on a GPU; yields the calls.

    Of these, a CPU minds none: x and h_0 that are no views, weights in one type with them and in
    one piece of memory, at least one time step, and training mode where there may be a backward.
    And as on a GPU, what comes in under autocast is cast to float16, whatever type was asked for.

    Args:
        copies_weights: whether weights that lie apart are taken, as cuDNN does with a warning.
    """
    calls: list[Call] = []
    gru: Callable[..., tuple[Tensor, Tensor]] = torch._VF.gru

    def strict(
        x: Tensor, h_0: Tensor, weights: list[Tensor], *options: Any
    ) -> tuple[Tensor, Tensor]:
        tensors = (x, h_0, *weights)
        if has_torch_function(tensors):
            found: tuple[Tensor, Tensor] = handle_torch_function(
                strict, tensors, x, h_0, weights, *options
            )
            return found
        _, _, dropout, train, _, batch_first = options
        assert isinstance(weights, list | tuple), "a packed sequence"
        assert x.is_contiguous(), "rnn: x is not contiguous"
        assert h_0.is_contiguous(), "rnn: hx is not contiguous"
        assert x.shape[1 if batch_first else 0] > 0, "Expected sequence length to be larger than 0"
        if torch.is_autocast_enabled("cpu") and x.dtype != torch.float64:
            half = [tensor.half() for tensor in tensors]
            calls.append(Call(tuple(x.shape), torch.float16, len(weights)))
            with torch.autocast("cpu", enabled=False):
                return gru(half[0], half[1], half[2:], *options)
        assert len({tensor.dtype for tensor in tensors}) == 1, "input and parameter types differ"
        place = weights[0].untyped_storage().data_ptr()
        for weight in weights if x.numel() > 0 and not copies_weights else ():
            assert weight.data_ptr() == place, "weights are not part of single contiguous chunk"
            place += weight.nbytes
        assert dropout == 0.0, "a dropout of cuDNN's own"
        calls.append(Call(tuple(x.shape), x.dtype, len(weights)))
        y, h_n = gru(x, h_0, weights, *options)
        return (y, h_n) if train else (_Evaluated.apply(y), _Evaluated.apply(h_n))

    with (
        patch.dict(AUTO_CORES, clear=True),
        patch.object(torch._VF, "gru", strict),
        patch.object(torch, "gru", strict),
        patch.object(torch, "cudnn_is_acceptable", _is_acceptable),
        patch.object(torch, "_cudnn_rnn_flatten_weight", _put_in_a_row),
        patch.object(autocast, "_takes_bfloat16", lambda _: True),
        patch.object(autocast, "get_cudnn_mode", lambda mode: mode),
    ):
        yield calls


class _Evaluated(torch.autograd.Function):
    """What is computed in eval mode."""

    @staticmethod
    def forward(_: Any, y: Tensor) -> Tensor:
        """Give it out as it is."""
        return y.view_as(y)

    @staticmethod
    def backward(*_: Any) -> None:
        """Refuse."""
        raise RuntimeError("cudnn RNN backward can only be called in training mode")


def _is_acceptable(tensor: Tensor) -> bool:
    return tensor.numel() > 0 and not tensor.is_meta


def _put_in_a_row(
    weights: list[Tensor], per_layer: int, input_size: int, mode: str, *sizes: int, **options: Any
) -> None:
    """Put weights into one piece of memory, as cuDNN does: each tensor stays the same object."""
    assert (mode, not options["batch_first"], len(weights) % per_layer) == ("GRU", True, 0)
    assert weights[0].shape == (3 * sizes[0], input_size)
    row = torch.cat([weight.detach().flatten() for weight in weights])
    for weight, piece in zip(weights, row.split([w.numel() for w in weights]), strict=True):
        weight.data = piece.view_as(weight)
