"""What tests of steps compare with: plain PyTorch, and some ways to cut a batch."""

from typing import Any

import torch
from torch import Tensor, nn

from gru_parallel.model import StackModel
from tests.builders import (
    make_plan,
    relative_error,
)

CUTS = {
    "uncut": ([4], "gpipe", 1, 1),
    "one stage": ([4], "one_f_one_b", 2, 3),
    "two stages": ([2, 2], "one_f_one_b", 2, 4),
}
CUT = make_plan(*CUTS["two stages"])
RAGGED = torch.tensor([3, 7, 1, 6, 2])


def plain_loss(model: StackModel, x: Tensor, y: Tensor) -> Tensor:
    return nn.functional.mse_loss(model(x), y)


def assert_equal_gradients(found: Any, expected: Any) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert relative_error(one, other) <= 1e-11
