"""The model of this library that is measured: a stack, and a linear head at the end of a window."""

from __future__ import annotations

from typing import Any

from torch import nn

from benchmarks.shapes import Shape
from gru_parallel.model import GRUStack, StackModel, WindowHead


def make_model(shape: Shape, core: str | None = None) -> StackModel:
    """Build the model; a core that is None is not named, since earlier builds have no choice."""
    size = shape.hidden_size
    named: dict[str, Any] = {} if core is None else {"core": core}
    stack = GRUStack(size, size, shape.num_layers, **named)
    return StackModel(nn.Identity(), stack, WindowHead(size, (1,)))
