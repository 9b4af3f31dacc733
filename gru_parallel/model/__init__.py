"""The model on one device: blocks, the stack, heads and losses. Knows nothing of schedules."""

from gru_parallel.model.block import GRUBlock
from gru_parallel.model.dropout import DropoutKey
from gru_parallel.model.head import StepHead, WindowHead
from gru_parallel.model.loss import LOSSES, SumLoss
from gru_parallel.model.stack import GRUStack, StackModel

__all__ = [
    "LOSSES",
    "DropoutKey",
    "GRUBlock",
    "GRUStack",
    "StackModel",
    "StepHead",
    "SumLoss",
    "WindowHead",
]
