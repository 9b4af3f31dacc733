"""From the settings to the model and its loss."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from gru_parallel.assembly.model_spec import model_spec
from gru_parallel.config.schema import Config
from gru_parallel.data.widths import Widths
from gru_parallel.model import GRUStack, Output, StackModel, StepEncoder, SumLoss, WindowView
from gru_parallel.model.head import HEADS
from gru_parallel.model.output import loss_named, output_named
from gru_parallel.own_names import is_own, own
from gru_parallel.placement import ModelSpec


def loss_of(config: Config, output: Output) -> SumLoss:
    """Return the loss of a run, by what its model's numbers mean."""
    name = config.model.loss
    loss: SumLoss | None = own("model.loss", name) if is_own(name) else loss_named(name, output)
    assert loss is not None, name
    return loss


def build_model(
    config: Config, widths: Widths, kept_blocks: Collection[int] | None = None
) -> StackModel:
    """Draw a model's weights from torch's global generator.

    Args:
        config: the run's settings.
        widths: of the windows.
        kept_blocks: the blocks whose weights are kept, the encoder's with the first and the head's
            with the last; those of others are drawn, one block at a time, and go to the meta
            device. None keeps all.
    """
    model, spec = config.model, model_spec(config, widths)
    first, last = spec.blocks[0], spec.blocks[-1]
    n_alone = widths.n_channels if model.per_channel else None
    view = WindowView(config.segment_length, n_alone, widths.n_known, widths.n_static)
    encoder = _build_encoder(config, spec, view)
    if kept_blocks is not None and 0 not in kept_blocks:
        encoder.to("meta")
    stack = GRUStack(
        first.input_size,
        model.hidden_size,
        model.num_layers,
        model.layers_per_block,
        dropout=model.dropout,
        bidirectional=model.bidirectional,
        h_0=model.h_0,
        core=model.core,
        residual=model.residual,
        norm=model.norm,
        drops_last=spec.n_decoding > 0,
        kept_blocks=kept_blocks,
    )
    output = output_named(model.loss, config.quantiles)
    n_numbers = output.n_numbers * (1 if model.per_channel else widths.n_targets)
    sizes = last.output_size, config.data.horizon, n_numbers, config.segment_length
    kind = own("model.head", model.head) if is_own(model.head) else HEADS[model.head]
    head = kind.for_forecast(*sizes)
    if kept_blocks is not None and len(spec.blocks) - 1 not in kept_blocks:
        head.to("meta")
    is_viewed = model.encoder == "segments" or view != WindowView()
    return StackModel(encoder, stack, head, view if is_viewed else None, output)


def _build_encoder(config: Config, spec: ModelSpec, view: WindowView) -> nn.Module:
    if spec.n_channels is None:
        return nn.Identity()
    size, is_linear = spec.blocks[0].input_size, config.model.encoder == "linear"
    if is_linear and view.n_channels is None and spec.n_decoding == 0:
        return nn.Linear(spec.n_channels, size)
    return StepEncoder(
        spec.n_channels,
        size,
        n_channels=view.n_channels,
        n_decoding=spec.n_decoding,
        has_relu=not is_linear,
        is_known_ahead=view.n_known + view.n_static > 0,
    )
