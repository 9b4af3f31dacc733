"""Runs a GRU of one direction with the core that was asked for, over rows that may end early."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.nn.modules.module import _has_any_global_hook
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack as _modes

from gru_parallel.choices import AUTO, core_on
from gru_parallel.model.autocast import GRUsAsAsked, computing_type
from gru_parallel.model.core.layer import run_layer
from gru_parallel.model.core.own import Core, find_core
from gru_parallel.model.core.tape import Tape
from gru_parallel.model.flat_weights import weights_in_order
from gru_parallel.model.private import is_private
from gru_parallel.model.ragged import BatchSizes, segments
from gru_parallel.model.stepwise import has_forward_of


def run_gru(
    gru: nn.GRU,
    x: Tensor,
    h_0: Tensor,
    batch_sizes: BatchSizes | None = None,
    core: str = AUTO,
    tape: Tape | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a GRU of one direction over rows that may end at different steps.

    Between two steps at which rows end, the remaining rows run as one batch.

    Args:
        gru: layers that run in one direction.
        x: inputs, shape (time, batch, input_size); never read after a row's end.
        h_0: initial states, shape (layers, batch, hidden_size).
        batch_sizes: rows at each step; None if all rows run at all steps.
        core: one of `CORES`. A class or a hook of the caller's own, and what looks into operators
            or differentiates them its own way, is given the module itself.
        tape: takes what B leaves for W, where the core can leave it, and with autograd off all that
            B needs (see `can_tape`); None has W run within B.

    Returns:
        y: outputs, shape (time, batch, hidden_size), zero after a row's end.
        h_n: states after each row's last step, shape (layers, batch, hidden_size).
    """
    if tape is not None and not torch.is_grad_enabled():
        return _run_on_tape(gru, x, h_0, core, tape)
    own = own_core(gru, x, core)
    if batch_sizes is None:
        return _run(gru, x, h_0, own, tape)
    n_all_rows = x.shape[1]
    runs = list(segments(batch_sizes))
    outputs: list[Tensor] = []
    ended: list[Tensor] = []
    h = h_0
    parts = x.split([n_steps for n_steps, _ in runs])
    for (_, n_rows), part in zip(runs, parts, strict=True):
        if n_rows < h.shape[1]:
            ended.append(h[:, n_rows:])
            h = h[:, :n_rows]
        y, h = _run(gru, part[:, :n_rows], h, own, tape)
        outputs.append(functional.pad(y, (0, 0, 0, n_all_rows - n_rows)))
    return torch.cat(outputs), torch.cat([h, *reversed(ended)], dim=1)


def own_core(gru: nn.GRU, x: Tensor, name: str) -> Core | None:
    """Return the core of this library that is to run a GRU; None for the module itself.

    Args:
        gru: that is run.
        x: its inputs.
        name: of the core that was asked for.
    """
    core = find_core(core_on(x.device.type, name))
    return None if core is None or not _is_plain(gru) or _is_watched(x) else core


def can_tape(gru: nn.GRU, core: str) -> bool:
    """Whether a tape can take all that B of a GRU needs.

    Args:
        gru: that is run.
        core: that was asked for.
    """
    weights = weights_in_order(gru)
    some = weights[0]
    are_usual = all(w.is_leaf for w in weights) and _fit(gru, [some, some, *weights])
    return own_core(gru, some, core) is not None and are_usual


def _is_plain(gru: nn.GRU) -> bool:
    """Whether calling the module would do what its equations say, and nothing else."""
    hooks = (
        gru._forward_hooks,
        gru._forward_pre_hooks,
        gru._backward_hooks,
        gru._backward_pre_hooks,
    )
    is_called = gru._compiled_call_impl is not None or _has_any_global_hook()
    return (
        has_forward_of(gru, nn.GRU)
        and type(gru).__call__ is nn.Module.__call__
        and not any(hooks)
        and (is_private(gru) or not is_called)
        and not (gru.bidirectional or gru.batch_first or gru.dropout or gru.proj_size)
    )


def _is_watched(x: Tensor) -> bool:
    """Whether something wants torch's own operator: to look into it, or to differentiate it."""
    return (
        x.is_meta
        or torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        # Modes that keep, copy or count what operators give.
        or any(type(mode).__module__.startswith("torch.") for mode in _modes())
    )


def _run(
    gru: nn.GRU, x: Tensor, h_0: Tensor, own: Core | None, tape: Tape | None
) -> tuple[Tensor, Tensor]:
    # cuDNN refuses views, such as some rows of a state.
    x, h_0 = x.contiguous(), h_0.contiguous()
    if own is not None:
        # As at the start of its own forward: a parametrization may make them anew.
        gru._update_flat_weights()
        tensors = _as_asked([x, h_0, *weights_in_order(gru)])
        if _fit(gru, tensors):
            return _run_own(gru, tensors, own, tape)
    if x.is_meta or not torch.is_autocast_enabled(x.device.type):
        y, h_n = gru(x, h_0)
    else:
        with GRUsAsAsked(x.device.type):
            y, h_n = gru(x, h_0)
    return y, h_n


def _as_asked(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Cast x, h_0 and weights as autocast asks, if it is on."""
    x, _, weight, *_ = tensors
    kind = x.device.type
    if not torch.is_autocast_enabled(kind):
        return tensors
    dtype = computing_type(weight.dtype, torch.get_autocast_dtype(kind))
    return [each.to(dtype) if each.is_floating_point() else each for each in tensors]


def _fit(gru: nn.GRU, tensors: Sequence[Tensor]) -> bool:
    """Whether there is a step, one type, and weights have the shapes that the options give them.

    If not, torch's operator says what is wrong.
    """
    rows = 3 * gru.hidden_size
    shapes = [
        shape
        for layer in range(gru.num_layers)
        for shape in (
            (rows, gru.hidden_size if layer else gru.input_size),
            (rows, gru.hidden_size),
            *([(rows,), (rows,)] if gru.bias else []),
        )
    ]
    x, _, *weights = tensors
    has_one_type = len({each.dtype for each in tensors}) == 1
    return len(x) > 0 and has_one_type and [w.shape for w in weights] == shapes


def _run_own(
    gru: nn.GRU, tensors: Sequence[Tensor], core: Core, tape: Tape | None
) -> tuple[Tensor, Tensor]:
    x, h_0, *weights = tensors
    run = partial(run_layer, core, leave=None if tape is None else tape.leave)
    with torch.autocast(x.device.type, enabled=False):
        return _run_layers(x, h_0, weights, gru.num_layers, run)


def _run_on_tape(
    gru: nn.GRU, x: Tensor, h_0: Tensor, core: str, tape: Tape
) -> tuple[Tensor, Tensor]:
    own = find_core(core_on(x.device.type, core))
    assert own is not None
    weights = cast("list[Tensor]", gru._flat_weights)
    return _run_layers(x.contiguous(), h_0, weights, gru.num_layers, partial(tape.layer, own))


def _run_layers(
    x: Tensor,
    h_0: Tensor,
    weights: Sequence[Tensor],
    n_layers: int,
    run: Callable[..., tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor]:
    """Run layers one after the other.

    Args:
        x: inputs of the first.
        h_0: their states, shape (layers, batch, hidden_size).
        weights: of all, in the order of `nn.GRU`.
        n_layers: number of layers.
        run: takes x, h_0 and the weights of one layer.
    """
    # An nn.GRU changes its list of weights in place.
    weights = tuple(weights)
    if n_layers == 1:
        return run(x, h_0, weights)
    of_a_layer = len(weights) // n_layers
    states = []
    for k, h in enumerate(h_0.split(1)):
        x, h_n = run(x, h, weights[k * of_a_layer : (k + 1) * of_a_layer])
        states.append(h_n)
    return x, torch.cat(states)
