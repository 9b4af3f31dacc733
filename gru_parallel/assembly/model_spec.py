"""From the settings to the sizes of the model, which planning and building both go by."""

from __future__ import annotations

from gru_parallel.choices import HEAD_TASKS
from gru_parallel.config.schema import Config
from gru_parallel.placement import ModelSpec, cut_stack


def model_spec(config: Config, n_channels: int, n_targets: int) -> ModelSpec:
    """Work out how wide each part of the model is.

    Args:
        config: the run's settings.
        n_channels: features of the windows.
        n_targets: columns to forecast.

    Raises:
        UsageError: model.bidirectional or model.h_0 does not fit the blocks.
    """
    model = config.model
    has_encoder = model.encoder == "linear"
    every_step = HEAD_TASKS[model.head] == "every_step"
    return ModelSpec(
        cut_stack(
            model.hidden_size if has_encoder else n_channels,
            model.hidden_size,
            model.num_layers,
            model.layers_per_block,
            bidirectional=model.bidirectional,
            h_0=model.h_0,
        ),
        n_channels if has_encoder else None,
        n_targets if every_step else config.data.horizon * n_targets,
        every_step,
        model.core,
        model.dropout > 0.0,
        model.residual,
        model.norm != "none",
    )
