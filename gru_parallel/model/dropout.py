"""Dropout whose random numbers depend only on what is dropped, not on where or when."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class DropoutKey:
    """Identifies the random numbers of one cell of one training step.

    Attributes:
        seed: the run's seed.
        step: number of batches trained on before this one.
        micro_batch: index of the cell's micro-batch.
        chunk: index of the cell's chunk.
    """

    seed: int
    step: int
    micro_batch: int
    chunk: int

    def generator(self, layer: int, device: torch.device) -> torch.Generator:
        """Return a generator for the outputs of `layer` (counted over the whole stack)."""
        words = struct.pack("<5q", self.seed, self.step, layer, self.micro_batch, self.chunk)
        # Hashed, because neighbouring keys must not give related streams.
        digest = hashlib.blake2b(words, digest_size=8).digest()
        generator = torch.Generator(device)
        generator.manual_seed(int.from_bytes(digest, "little") >> 1)
        return generator


def dropout(y: Tensor, probability: float, layer: int, key: DropoutKey | None) -> Tensor:
    """Zero entries of `y` with `probability` and scale the others, as `nn.Dropout` in training.

    Args:
        y: outputs of a layer, any shape.
        probability: share of entries to drop, 0 <= probability <= 1.
        layer: index of the layer in the whole stack.
        key: identifies the random numbers; None uses torch's global generator.

    Returns:
        A tensor of the shape of `y`.
    """
    if key is None:
        return functional.dropout(y, probability)
    keep = 1.0 - probability
    mask = torch.empty_like(y, requires_grad=False)
    mask.bernoulli_(keep, generator=key.generator(layer, y.device))
    # With a probability of 1 nothing is left to scale.
    return y * (mask.div_(keep) if keep > 0.0 else mask)
