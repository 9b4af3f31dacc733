"""What is measured on a batch of unequal lengths: nn.GRU and its drop-in, packed or padded."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.lengths import spread_lengths
from benchmarks.samples import Step
from benchmarks.shapes import Shape
from benchmarks.stopwatch import drop_gradients, timed
from benchmarks.variants import DropIn, RaggedGRU, RaggedVariant
from gru_parallel import GRU


class RaggedSubject:
    """A GRU whose loss is the sum of the outputs that the sequences have.

    Args:
        variant: which GRU, and how the batch is handed to it.
        shape: the size of the step.

    Attributes:
        gru: what is trained.
    """

    def __init__(self, variant: RaggedVariant, shape: Shape) -> None:
        torch.set_num_threads(variant.n_threads)
        size = shape.hidden_size
        gru = nn.GRU(size, size, shape.num_layers, batch_first=True)
        self.gru = _drop_in(gru, variant, shape) if isinstance(variant, DropIn) else gru
        x, lengths = _batch(shape)
        self._padded = isinstance(variant, RaggedGRU) and variant.padded
        self._x = x
        self._runs = torch.arange(shape.n_steps) < lengths.unsqueeze(1)
        self._packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)

    def step(self) -> Step:
        """Run one training step and say what it took."""
        wall_ms, cpu_ms = timed(self.train)
        drop_gradients(self.gru.parameters())
        return Step(wall_ms, cpu_ms)

    def train(self) -> None:
        """Run forward and backward."""
        if self._padded:
            output, _ = self.gru(self._x)
            # What the sequences have, so that the loss is the same.
            output[self._runs].sum().backward()
        else:
            packed, _ = self.gru(self._packed)
            packed.data.sum().backward()

    def close(self) -> None:
        """Leave the drop-in's threads to the end of the process."""


def _drop_in(gru: nn.GRU, variant: DropIn, shape: Shape) -> GRU:
    return GRU.from_torch(
        gru,
        device_map=variant.device_map(shape.num_layers),
        n_micro_batches=variant.n_micro_batches,
        n_chunks=variant.n_chunks,
    )


def _batch(shape: Shape) -> tuple[Tensor, Tensor]:
    """Draw sequences, (batch, time, hidden_size), and their lengths, (batch,)."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape.batch_size, shape.n_steps, shape.hidden_size, generator=generator)
    return x, torch.tensor(spread_lengths(shape))
