"""Dropout whose random numbers depend only on what is dropped, not on where or when."""

from __future__ import annotations

import hashlib
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Self

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

    def after(self) -> Self:
        """Return that of the steps after the window, which no chunk has."""
        return replace(self, chunk=self.chunk + 1)

    def generator(self, layer: int, device: torch.device) -> torch.Generator:
        """Return a generator for the outputs of `layer` (counted over the whole stack)."""
        # 64 bits of either sign, as torch's own seeds are.
        seed = self.seed % 2**64
        words = struct.pack("<Q4q", seed, self.step, layer, self.micro_batch, self.chunk)
        # Hashed, because neighbouring keys must not give related streams.
        digest = hashlib.blake2b(words, digest_size=8).digest()
        generator = torch.Generator(device)
        generator.manual_seed(int.from_bytes(digest, "little") >> 1)
        return generator

    def mask(self, y: Tensor, layer: int, keep: float) -> Tensor:
        """Draw what the outputs `y` of `layer` are multiplied by, for a probability to be kept."""
        return self.draw(torch.empty_like(y, requires_grad=False), layer, keep)

    def draw(self, mask: Tensor, layer: int, keep: float) -> Tensor:
        """Draw a mask into memory that is there."""
        mask.bernoulli_(keep, generator=self.generator(layer, mask.device))
        # With a probability of 1 nothing is left to scale.
        return mask.div_(keep) if keep > 0.0 else mask


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask that is drawn anew each time that what was recorded with it is replayed.

    Attributes:
        tensor: its memory.
        key: what it was recorded for.
        layer: index of the layer in the whole stack.
        keep: probability to be kept.
    """

    tensor: Tensor
    key: DropoutKey
    layer: int
    keep: float

    def draw(self, seed: int, step: int) -> None:
        """Draw it for a training step."""
        replace(self.key, seed=seed, step=step).draw(self.tensor, self.layer, self.keep)


Masks = dict[object, Mask]
"""Masks by what they are for."""


@dataclass(frozen=True, slots=True)
class RecordedKey(DropoutKey):
    """Gives out masks that are still to be drawn, and collects them.

    Attributes:
        masks: that were given out; asked for once more, one stays the same.
    """

    masks: Masks = field(default_factory=dict)

    def mask(self, y: Tensor, layer: int, keep: float) -> Tensor:
        """Make room for a mask; see `DropoutKey`."""
        wanted = self.micro_batch, self.chunk, layer, keep, y.shape, y.dtype
        if wanted in self.masks:
            return self.masks[wanted].tensor
        # Drawn before a replay, it must not lie where the replay itself puts something before it
        # comes to the mask, as memory that is allocated while recording may. So another thread
        # allocates it, which records nothing.
        with ThreadPoolExecutor(1) as outside:
            room = outside.submit(torch.empty_like, y.detach(), requires_grad=False)
        tensor = room.result()
        key = DropoutKey(self.seed, self.step, self.micro_batch, self.chunk)
        self.masks[wanted] = Mask(tensor, key, layer, keep)
        return tensor


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
    return y * key.mask(y, layer, 1.0 - probability)
