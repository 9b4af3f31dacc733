"""A model as plain values, and back: from these, a checkpoint's model is rebuilt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from gru_parallel.choices import AUTO
from gru_parallel.model.head import HEADS, DecoderHead, Head
from gru_parallel.model.loss import PointOutput
from gru_parallel.model.output import OUTPUTS, output_named
from gru_parallel.model.stack import GRUStack
from gru_parallel.model.stack_model import StackModel
from gru_parallel.model.step_encoder import StepEncoder
from gru_parallel.model.window_view import WindowView
from gru_parallel.own_names import is_own

_TYPES = {
    str(dtype): dtype for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16)
}


def describe(model: StackModel) -> dict[str, Any] | None:
    """Describe a model by the arguments that created it.

    Returns:
        Plain values for `model_from`; None if the encoder or the head is neither this library's nor
        a linear layer, the output is not this library's, or the weights have an unusual type.
    """
    parts = _describe_encoder(model.encoder), _describe_head(model.head)
    dtype = str(next(model.parameters()).dtype)
    has_own_output = type(model.output) not in (PointOutput, *OUTPUTS.values())
    is_unusual = dtype not in _TYPES or type(model.gru) is not GRUStack
    if None in parts or is_unusual or has_own_output:
        return None
    blocks = model.gru.gru_blocks
    stack = {
        "input_size": model.gru.input_size,
        "hidden_size": model.gru.hidden_size,
        "num_layers": model.gru.num_layers,
        "layers_per_block": blocks[0].num_layers,
        "dropout": blocks[0].dropout,
        "bias": blocks[0].gru_parts[0].bias,
        "bidirectional": [block.n_directions == 2 for block in blocks],
        "h_0": [block.h_0 for block in blocks],
        # A checkpoint names no code to run.
        "core": AUTO if is_own(blocks[0].core) else blocks[0].core,
        "residual": blocks[0].residual,
        "norm": blocks[0].input_norm,
        "drops_last": not blocks[-1].last,
    }
    encoder, head = parts
    return {
        "encoder": encoder,
        "stack": stack,
        "head": head,
        "dtype": dtype,
        "view": None if model.view is None else asdict(model.view),
        "output": {"name": model.output.name, "levels": list(model.output.levels)},
    }


def model_from(description: Mapping[str, Any]) -> StackModel:
    """Build the model that `describe` described, with new weights."""
    head = dict(description["head"])
    # Checkpoints did not always have the name, a view, or an output.
    every_step = head.pop("every_step")
    kind: Any = HEADS[head.pop("name", "every_step" if every_step else "window")]
    encoder, stack = _encoder_from(description["encoder"]), GRUStack(**description["stack"])
    view = description.get("view")
    model = StackModel(
        encoder,
        stack,
        kind(**head),
        None if view is None else WindowView(**view),
        output_named(**description.get("output", {"name": "point", "levels": []})),
    )
    return model.to(_TYPES[description["dtype"]])


def _encoder_from(description: Mapping[str, Any]) -> nn.Module:
    if not description:
        return nn.Identity()
    return (StepEncoder if "n_values" in description else nn.Linear)(**description)


def _describe_encoder(encoder: nn.Module) -> dict[str, Any] | None:
    if type(encoder) is nn.Identity:
        return {}
    if type(encoder) is StepEncoder and type(encoder.linear) is nn.Linear:
        return {
            "n_values": encoder.linear.in_features,
            "output_size": encoder.linear.out_features,
            "n_channels": None if encoder.channels is None else encoder.channels.num_embeddings,
            "n_decoding": 0 if encoder.places is None else encoder.places.num_embeddings,
            "has_relu": encoder.has_relu,
            "is_known_ahead": encoder.is_known_ahead,
        }
    if type(encoder) is not nn.Linear:
        return None
    has_bias = encoder.bias is not None
    return {
        "in_features": encoder.in_features,
        "out_features": encoder.out_features,
        "bias": has_bias,
    }


def _describe_head(head: Head) -> dict[str, Any] | None:
    name = next((name for name, kind in HEADS.items() if type(head) is kind), None)
    if name is None or type(head.linear) is not nn.Linear:
        return None
    shape: dict[str, Any] = {"output_shape": tuple(head.output_shape)}
    if isinstance(head, DecoderHead):
        shape["segment_length"] = head.segment_length
    if head.every_step:
        shape = {"n_outputs": head.output_shape[0]}
    described = {"name": name, "every_step": head.every_step}
    return {**described, "hidden_size": head.linear.in_features, **shape}
