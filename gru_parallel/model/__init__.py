"""The model on one device: blocks, the stack, heads and losses. Knows nothing of schedules."""

from gru_parallel.model.bidirectional import BidirectionalBlock
from gru_parallel.model.block import Block, GRUBlock
from gru_parallel.model.description import describe, model_from
from gru_parallel.model.dropout import DropoutKey
from gru_parallel.model.head import DecoderHead, StepHead, WindowHead
from gru_parallel.model.hidden import Start
from gru_parallel.model.loss import LOSSES, Output, PointOutput, SumLoss
from gru_parallel.model.output import (
    OUTPUTS,
    NegativeBinomialOutput,
    NormalOutput,
    QuantileOutput,
)
from gru_parallel.model.stack import GRUStack
from gru_parallel.model.stack_model import StackModel
from gru_parallel.model.step_encoder import StepEncoder
from gru_parallel.model.stepwise import has_forward_of, is_declared, looks_beyond
from gru_parallel.model.window_view import WindowView
from gru_parallel.model.windows import Windows

__all__ = [
    "LOSSES",
    "OUTPUTS",
    "BidirectionalBlock",
    "Block",
    "DecoderHead",
    "DropoutKey",
    "GRUBlock",
    "GRUStack",
    "NegativeBinomialOutput",
    "NormalOutput",
    "Output",
    "PointOutput",
    "QuantileOutput",
    "StackModel",
    "Start",
    "StepEncoder",
    "StepHead",
    "SumLoss",
    "WindowHead",
    "WindowView",
    "Windows",
    "describe",
    "has_forward_of",
    "is_declared",
    "looks_beyond",
    "model_from",
]
