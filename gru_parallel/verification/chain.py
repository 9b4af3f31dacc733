"""A chain of several GRUs, in plain PyTorch and as this library's blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gru_parallel.engine import ThreadEngine, existing_devices
from gru_parallel.model import GRUStack, StackModel, StepHead, SumLoss, Windows
from gru_parallel.placement import Grid, spread
from gru_parallel.planning import plan_from_device_map
from gru_parallel.verification.devices import device_pools
from gru_parallel.verification.sequences import INPUT_SIZE, Sequences, gradient
from gru_parallel.verification.settings import Settings


@dataclass(frozen=True)
class Found:
    """What a model computes from a batch.

    Attributes:
        output: shape (time, batch, hidden_size).
        gradients: of each weight and learned state, by its name in the state dict.
    """

    output: Tensor
    gradients: dict[str, Tensor]


class PlainChain(nn.Module):
    """A chain of `nn.GRU`s, with the weights of one that has all their layers.

    Args:
        whole: the `nn.GRU` with the weights.
        layers_each: layers of each GRU, a divisor of those of `whole`.
        later_start: what all but the first start from: "given" (their part of h_0), "zeros" or
            "previous" (the h_n of the one before).
    """

    def __init__(self, whole: nn.GRU, layers_each: int, later_start: str) -> None:
        super().__init__()
        self.layers_each = layers_each
        self.later_start = later_start
        self.grus = nn.ModuleList()
        weights = iter(whole.parameters())
        for index in range(whole.num_layers // layers_each):
            input_size = whole.hidden_size if index else whole.input_size
            dtype = whole.weight_ih_l0.dtype
            gru = nn.GRU(input_size, whole.hidden_size, layers_each, dtype=dtype)
            with torch.no_grad():
                for weight in gru.parameters():
                    weight.copy_(next(weights))
            self.grus.append(gru)

    def forward(self, x: Tensor, h_0: Tensor) -> tuple[Tensor, Tensor]:
        """Run one GRU after the other; shapes as for `nn.GRU`."""
        states: list[Tensor] = []
        for gru, start in zip(self.grus, h_0.split(self.layers_each), strict=True):
            if states and self.later_start == "zeros":
                start = torch.zeros_like(start)
            if states and self.later_start == "previous":
                start = states[-1]
            x, h_n = gru(x, start)
            states.append(h_n)
        return x, torch.cat(states)


class Outputs(StepHead):
    """Returns the outputs of the stack as they are, to be compared."""

    stepwise = True

    def __init__(self, hidden_size: int) -> None:
        nn.Module.__init__(self)
        self.output_shape = (hidden_size,)

    def forward(self, y: Tensor) -> Tensor:
        """Return (time, batch, hidden_size) batch first."""
        return y.transpose(0, 1)


# Its gradient with respect to the outputs is the "target": every output matters.
_WEIGHTED_SUM = SumLoss("weighted sum", lambda y, dy: (y * dy).sum(), lambda _: 1)


def run_plain(gru: nn.Module, sequences: Sequences, h_0: Tensor | None) -> Found:
    """Run `nn.GRU`, or a module that is called as it is, from a state."""
    gru.zero_grad()
    output, _ = gru(sequences.x) if h_0 is None else gru(sequences.x, h_0)
    output.backward(sequences.dy)
    return Found(output.detach(), {name: gradient(p) for name, p in gru.named_parameters()})


def run_blocks(
    whole: nn.GRU,
    settings: Settings,
    layers_each: int,
    policies: Sequence[str],
    batches: Sequence[Sequences],
    h_0: Tensor | None,
    learned: Tensor | None,
) -> Found:
    """Run this library's blocks, spread over devices and cut into micro-batches and chunks.

    Args:
        whole: the `nn.GRU` with the weights.
        settings: sizes and devices.
        layers_each: layers of each block, a divisor of those of `whole`.
        policies: where the state of each block comes from.
        batches: run one after the other; the last one's results are returned.
        h_0: for blocks whose policy is `given`, shape (num_layers, batch, hidden_size).
        learned: for blocks whose policy is `learned`, shape (num_layers, hidden_size).
    """
    stack = GRUStack(
        INPUT_SIZE,
        whole.hidden_size,
        whole.num_layers,
        layers_each,
        h_0=policies,
        dtype=getattr(torch, settings.dtype),
    )
    states = {} if learned is None else {f"h_0_l{k}": state for k, state in enumerate(learned)}
    stack.load_state_dict(whole.state_dict() | states)
    model = StackModel(nn.Identity(), stack, Outputs(whole.hidden_size))
    n_blocks = len(stack.gru_blocks)
    plan = plan_from_device_map(
        list(spread(device_pools(settings)[0][:n_blocks], n_blocks)),
        existing_devices(),
        num_layers=whole.num_layers,
        grid=Grid(layers_each, n_micro_batches=2, n_chunks=min(3, settings.n_steps)),
    )
    with ThreadEngine(model, plan, _WEIGHTED_SUM) as engine:
        for batch in batches:
            x, dy = batch.x.transpose(0, 1), batch.dy.transpose(0, 1)
            output = engine.predict(Windows(x, h_0=h_0))
            model.zero_grad()
            engine.train_step(Windows(x, dy, h_0=h_0)).backward()
    weights = dict(stack.named_parameters())
    gradients = {name: gradient(weights[ours]) for ours, name in stack.nn_gru_names().items()}
    return Found(output.transpose(0, 1), gradients)
