"""The batch that all variants of a step train on."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.shapes import Shape


def draw_batch(shape: Shape) -> tuple[Tensor, Tensor]:
    """Draw a batch: windows (batch, time, hidden_size), targets (batch, 1)."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape.batch_size, shape.n_steps, shape.hidden_size, generator=generator)
    return x, torch.randn(shape.batch_size, 1, generator=generator)
