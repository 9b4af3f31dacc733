"""Where each block's h_0 comes from."""

from __future__ import annotations

import torch
from torch import Tensor

from gru_parallel.model.block import GRUBlock


def zeros(block: GRUBlock, batch_size: int) -> Tensor:
    """Return a state of zeros for `block`, shape (layers, batch, hidden_size).

    A stack whose blocks all start from zeros equals one `nn.GRU` called without h_0.
    """
    weight = next(block.parameters())
    shape = (block.num_layers, batch_size, block.hidden_size)
    return torch.zeros(shape, device=weight.device, dtype=weight.dtype)
