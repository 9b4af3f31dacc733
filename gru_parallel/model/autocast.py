"""Autocast for GRUs: each computes in the type that was asked for, on every kind of device.

torch alone does not: under autocast it casts to float16 what cuDNN's recurrent operators take in,
whatever type was asked for, and on the CPU the type of the outputs depends on that of h_0. So here
x, h_0 and weights are cast first, and the operator runs with autocast off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.backends.cudnn.rnn import get_cudnn_mode
from torch.overrides import TorchFunctionMode

_CUDNN_WITH_BFLOAT16 = (9, 13, 0)


def computing_type(own: torch.dtype, asked: torch.dtype | None) -> torch.dtype:
    """Return the type in which a GRU computes.

    Args:
        own: of its weights.
        asked: what autocast on their kind of device asks for; None where it is off.
    """
    # Autocast leaves float64 as it is.
    is_cast = asked is not None and own.is_floating_point and own != torch.float64
    return asked if is_cast and asked is not None else own


class GRUsAsAsked(TorchFunctionMode):
    """Inside, torch's GRU operator computes in the type that autocast asks for, if it is on.

    What goes into the operator is cast, and not the module: so this holds for classes of the
    caller's own as well, and for weights that a parametrization computes. Gradients come back in
    the types of what was given.

    Args:
        kind: of the device, such as "cuda".
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation; see the class."""
        run = self._run_gru if func == torch._VF.gru else func
        return run(*args, **(kwargs or {}))

    def _run_gru(self, *args: Any) -> Any:
        # (x, h_0, weights, ...), or (x, rows at each step, h_0, weights, ...).
        place = next(i for i, each in enumerate(args) if isinstance(each, list | tuple))
        given: Sequence[Tensor] = args[place]
        asked = torch.get_autocast_dtype(self._kind)
        is_on = torch.is_autocast_enabled(self._kind)
        dtype = computing_type(given[0].dtype, asked if is_on else None)
        inputs = [each.to(dtype) if each.is_floating_point() else each for each in args[:place]]
        weights = [weight.to(dtype) for weight in given]
        if weights[0] is not given[0]:
            _, num_layers, _, _, bidirectional = args[place + 1 : place + 6]
            _flatten(weights, "GRU", weights[1].shape[1], 0, num_layers, bidirectional)
        with torch.autocast(self._kind, enabled=False):
            return torch._VF.gru(*inputs, weights, *args[place + 1 :])  # type: ignore[call-overload]  # either form


def renew(copies: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Bring copies in another type up to date, in the memory that they have.

    Args:
        copies: each with the weight that it is of.
    """
    if copies:
        leaves, weights = zip(*copies, strict=True)
        with torch.inference_mode(mode=False), torch.no_grad():
            torch._foreach_copy_(leaves, weights)


def cudnn_takes(weight: Tensor) -> bool:
    """Whether torch has cuDNN compute a GRU with such a weight.

    A torch that was built with a cuDNN before 9.13 leaves bfloat16 to its own kernels, and so does
    any on GPUs before compute capability 8 (pytorch/pytorch#164411).
    """
    if not torch.cudnn_is_acceptable(weight):
        return False
    return weight.dtype != torch.bfloat16 or _takes_bfloat16(weight.device)


def _takes_bfloat16(device: torch.device) -> bool:
    is_new = _version_of_build() >= _CUDNN_WITH_BFLOAT16
    return is_new and torch.cuda.get_device_capability(device) >= (8, 0)


def _version_of_build() -> tuple[int, ...]:
    bindings: Any = torch._C
    return tuple(bindings._cudnn.getCompileVersion())


def flatten(rnn: nn.RNNBase, weights: Sequence[Tensor]) -> None:
    """Put recurrent weights into one piece of memory, in place, where cuDNN is to read them.

    Otherwise it copies them at every call, and warns. `flatten_parameters` of torch does the same,
    but passes over bfloat16 (as of torch 2.14), which newer ones take.

    Args:
        rnn: whose layers they are for.
        weights: in its order.
    """
    sizes = rnn.hidden_size, rnn.proj_size, rnn.num_layers
    _flatten(list(weights), rnn.mode, *sizes, rnn.bidirectional)


def _flatten(
    weights: list[Tensor],
    mode: str,
    hidden_size: int,
    proj_size: int,
    num_layers: int,
    bidirectional: bool,
) -> None:
    if not all(map(cudnn_takes, weights)):
        return
    if len({weight.data_ptr() for weight in weights}) < len(weights):
        # Shared by layers, they cannot lie in a row.
        return
    per_layer = len(weights) // (num_layers * (1 + bidirectional))
    sizes = hidden_size, proj_size, num_layers
    with torch.no_grad(), torch.cuda.device_of(weights[0]):
        torch._cudnn_rnn_flatten_weight(
            weights,
            per_layer,
            weights[0].shape[1],
            get_cudnn_mode(mode),
            *sizes,
            batch_first=False,
            bidirectional=bidirectional,
        )
