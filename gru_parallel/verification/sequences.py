"""One batch of sequences, and what a GRU computes from it: outputs, last states, gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gru_parallel.verification.settings import Settings

INPUT_SIZE = 6


@dataclass(frozen=True)
class Sequences:
    """A batch of sequences, and the gradients to back-propagate.

    Attributes:
        x: inputs, shape (time, batch, input_size).
        h_0: initial states, shape (n_states, batch, hidden_size).
        dy: gradient of the outputs, shape (time, batch, features): every output matters.
        dh_n: gradient of the last states, of the shape of `h_0`.
        lengths: time steps of each sequence; None if all are whole.
    """

    x: Tensor
    h_0: Tensor
    dy: Tensor
    dh_n: Tensor
    lengths: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Results:
    """What a GRU computes from a batch.

    Attributes:
        output: shape (time, batch, features), zero after a sequence's end.
        h_n: shape (n_states, batch, hidden_size).
        dx: gradient of the inputs.
        dh_0: gradient of the initial states.
        dweights: gradient of each weight, in the order of `nn.GRU`.
    """

    output: Tensor
    h_n: Tensor
    dx: Tensor
    dh_0: Tensor
    dweights: tuple[Tensor, ...]


def draw_gru(settings: Settings, *, bidirectional: bool = False) -> nn.GRU:
    """Draw the weights of the `nn.GRU` to be cut; the same for the same settings."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return nn.GRU(
            INPUT_SIZE,
            settings.hidden_size,
            settings.num_layers,
            bidirectional=bidirectional,
            dtype=getattr(torch, settings.dtype),
        )


def draw_sequences(
    settings: Settings,
    *,
    bidirectional: bool = False,
    lengths: tuple[int, ...] | None = None,
    number: int = 0,
) -> Sequences:
    """Draw a batch for a GRU of these sizes and directions: of one number always the same."""
    generator = torch.Generator().manual_seed(settings.seed + number + 1)
    n_directions = 2 if bidirectional else 1

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=getattr(torch, settings.dtype))

    states = (settings.num_layers * n_directions, settings.batch_size, settings.hidden_size)
    steps = (settings.n_steps, settings.batch_size)
    return Sequences(
        x=draw(*steps, INPUT_SIZE),
        h_0=draw(*states),
        dy=draw(*steps, settings.hidden_size * n_directions),
        dh_n=draw(*states),
        lengths=lengths,
    )


def run(gru: nn.Module, sequences: Sequences) -> Results:
    """Run a batch forward and backward through `nn.GRU`, or a module that is called as it is.

    A batch with lengths is passed as a `PackedSequence`.
    """
    x = sequences.x.clone().requires_grad_()
    h_0 = sequences.h_0.clone().requires_grad_()
    gru.zero_grad()
    if sequences.lengths is None:
        output, h_n = gru(x, h_0)
    else:
        packed = pack_padded_sequence(x, torch.tensor(sequences.lengths), enforce_sorted=False)
        packed_output, h_n = gru(packed, h_0)
        output, _ = pad_packed_sequence(packed_output, total_length=len(x))
    torch.autograd.backward([output, h_n], [sequences.dy, sequences.dh_n])
    return Results(
        output.detach(),
        h_n.detach(),
        gradient(x),
        gradient(h_0),
        tuple(map(gradient, gru.parameters())),
    )


def gradient(tensor: Tensor) -> Tensor:
    """Return the gradient of a tensor after a backward; zeros if it has none."""
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
