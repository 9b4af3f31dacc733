"""From the settings to the sizes of the model, which planning and building both go by."""

from __future__ import annotations

from gru_parallel.config.schema import Config
from gru_parallel.data.widths import Widths
from gru_parallel.own_names import head_task
from gru_parallel.placement import ModelSpec, cut_stack


def model_spec(config: Config, widths: Widths) -> ModelSpec:
    """Work out how wide each part of the model is.

    Args:
        config: the run's settings.
        widths: of the windows.

    Raises:
        UsageError: model.bidirectional or model.h_0 does not fit the blocks.
    """
    model, n_decoding, n_targets = config.model, config.n_decoding, widths.n_targets
    has_encoder = model.encoder != "none"
    every_step = head_task(model.head) == "every_step"
    n_values = config.segment_length * n_values_of_row(config, widths) + widths.n_static
    n_ahead = 1 if every_step else config.segment_length if n_decoding > 0 else config.data.horizon
    return ModelSpec(
        cut_stack(
            model.hidden_size if has_encoder else n_values,
            model.hidden_size,
            model.num_layers,
            model.layers_per_block,
            bidirectional=model.bidirectional,
            h_0=model.h_0,
        ),
        n_values if has_encoder else None,
        n_ahead * (1 if model.per_channel else n_targets) * config.n_numbers,
        every_step,
        model.core,
        model.dropout > 0.0,
        model.residual,
        model.norm != "none",
        n_decoding,
        _n_embedded(config, widths.n_channels),
    )


def n_values_of_row(config: Config, widths: Widths) -> int:
    """Return the numbers that a row of a window brings to its step; see `WindowView`."""
    n_channels = 1 if config.model.per_channel else widths.n_channels
    # A decoder has what is known of the rows to forecast in steps of its own.
    return n_channels + widths.n_known * (1 if config.n_decoding > 0 else 2)


def _n_embedded(config: Config, n_channels: int) -> int:
    """Return the parameters of what `StepEncoder` learns of channels and of steps."""
    size, n_decoding = config.model.hidden_size, config.n_decoding
    if not config.model.per_channel:
        return n_decoding * size
    of_channel = size // 2 if n_decoding > 0 else size
    return n_channels * of_channel + n_decoding * (size - of_channel)
