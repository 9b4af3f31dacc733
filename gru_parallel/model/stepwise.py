"""Which modules compute each time step of each row alone, so that a batch may be cut for them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.parametrize import is_parametrized

_KNOWN = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.Linear,
    nn.LogSigmoid,
    nn.Mish,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.Sequential,
    nn.Sigmoid,
    nn.SiLU,
    nn.Softplus,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
)
_FORWARDS = frozenset(kind.forward for kind in _KNOWN)
_OF_LAST_DIMENSIONS = (nn.LayerNorm, nn.RMSNorm)


def looks_beyond(module: nn.Module) -> str | None:
    """Find the part of a module that may look beyond one time step of one row.

    Known to compute each step alone are torch's activations, `nn.Linear`, normalisations over the
    features and sequences of them, and every module whose class sets `stepwise = True` beside its
    `forward`. Random numbers and statistics over a batch depend on how the batch is cut, wherever
    they are. Nothing is known of any other module.

    Args:
        module: an encoder or a head, in the mode in which it will run.

    Returns:
        The class of the first module in it of which this is not known; None if there is none.
    """
    return next((_class_of(part).__name__ for part in _parts_beyond(module, trusted=False)), None)


def has_forward_of(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module computes what `kind` does: its class may add to that, not change it."""
    return "forward" not in module.__dict__ and _class_of(module).forward is kind.forward


def _parts_beyond(module: nn.Module, *, trusted: bool) -> Iterator[nn.Module]:
    if _depends_on_the_cut(module):
        yield module
        return
    declared = is_declared(module)
    if not (trusted or declared or _is_known(module)):
        yield module
        return
    for name, child in module.named_children():
        # How a weight is made has nothing to do with the batch.
        if not (name == "parametrizations" and is_parametrized(module)):
            yield from _parts_beyond(child, trusted=trusted or declared)


def _depends_on_the_cut(module: nn.Module) -> bool:
    if isinstance(module, _DropoutNd):
        return module.training and module.p > 0.0
    return isinstance(module, _NormBase) and (module.training or module.running_mean is None)


def is_declared(module: nn.Module) -> bool:
    """Whether the class with the module's `forward`, or one derived from it, sets `stepwise`."""
    if "forward" in module.__dict__:
        return False
    for kind in _class_of(module).__mro__:
        if "stepwise" in kind.__dict__:
            return bool(kind.__dict__["stepwise"])
        if "forward" in kind.__dict__:
            break
    return False


def _is_known(module: nn.Module) -> bool:
    # The forward of a single object, a script or a trace is not that of a class.
    if "forward" in module.__dict__ or isinstance(module, torch.jit.ScriptModule):
        return False
    if isinstance(module, _OF_LAST_DIMENSIONS):
        return len(module.normalized_shape) == 1
    if isinstance(module, _DropoutNd):
        return True
    return _class_of(module).forward in _FORWARDS


def _class_of(module: nn.Module) -> type[nn.Module]:
    """The class of a module, without the one that a parametrization puts in front."""
    return type(module).__mro__[1] if is_parametrized(module) else type(module)
