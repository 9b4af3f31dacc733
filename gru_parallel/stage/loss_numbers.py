"""LossNumbers: what a recorded loss is divided by and scaled with; each batch has its own."""

from __future__ import annotations

import torch
from torch import Tensor


class LossNumbers:
    """Numbers of a batch in memory that a recording reads, where it would keep those of one batch.

    Args:
        device: of the last stage.

    Attributes:
        n_elements: what the loss is divided by; a scalar, to be written before F.
        scale: what B multiplies gradients by; a scalar, to be written before B.
    """

    def __init__(self, device: torch.device) -> None:
        # What is made in inference mode could not be written to outside.
        with torch.inference_mode(mode=False):
            self.n_elements = torch.ones((), dtype=torch.float64, device=device)
            self.scale = torch.ones((), dtype=torch.float64, device=device)

    def mean(self, total: Tensor) -> Tensor:
        """Divide a sum, to the bits that a number of the host gives."""
        # In 16 bits torch computes in 32, too.
        wide = torch.promote_types(total.dtype, torch.float32)
        n_elements, of_all = self.n_elements.to(wide), total.to(wide)
        # On GPUs it multiplies by the reciprocal of a number of the host.
        mean = of_all * n_elements.reciprocal() if total.is_cuda else of_all / n_elements
        return mean.to(total.dtype)
