"""Refuses encoders and heads that do not go with the windows, or with each other."""

from __future__ import annotations

from gru_parallel.config.schema import Config
from gru_parallel.errors import UsageError
from gru_parallel.own_names import head_task
from gru_parallel.placement.model_spec import check_decoder
from gru_parallel.rules import one_per_block


def check_steps(config: Config) -> None:
    """Check what the steps of the stack are made of, and what comes after them.

    Raises:
        UsageError: two settings do not go together.
    """
    _check_segments(config)
    _check_short_windows(config)
    _check_encoder(config)
    if config.n_decoding > 0:
        check_decoder(one_per_block(config.model.bidirectional))


def _check_segments(config: Config) -> None:
    model, n_rows = config.model, config.data.input_length
    length, is_cut = model.segment_length, model.encoder == "segments"
    if not is_cut and length is not None:
        raise UsageError(
            f"model.segment_length={length} is of no use with model.encoder={model.encoder}; use"
            " model.encoder=segments, or leave it out."
        )
    if not is_cut:
        return
    if length is None:
        raise UsageError(
            "model.encoder=segments needs to know the rows of a segment; give"
            f" model.segment_length, a divisor of data.input_length={n_rows}."
        )
    if n_rows % length > 0:
        whole = max(length, n_rows - n_rows % length)
        raise UsageError(
            f"model.segment_length={length} does not divide data.input_length={n_rows}, and a"
            " window is cut into whole segments; use a divisor of it, or"
            f" data.input_length={whole}."
        )
    if head_task(model.head) == "every_step":
        raise UsageError(
            "model.head=every_step predicts at every row of a window, and model.encoder=segments"
            f" makes one step of {length} rows; use model.head=window or decoder."
        )


def _check_short_windows(config: Config) -> None:
    data, model = config.data, config.model
    names = [
        name
        for name, is_so in (
            ("model.encoder=segments", model.encoder == "segments"),
            ("model.head=decoder", model.head == "decoder"),
        )
        if is_so
    ]
    if names and data.min_input_length not in (None, data.input_length):
        raise UsageError(
            f"{names[0]} takes whole windows alone, and data.min_input_length="
            f"{data.min_input_length} gives shorter ones; use data.min_input_length=null."
        )


def _check_encoder(config: Config) -> None:
    model = config.model
    if model.encoder != "none":
        return
    if model.per_channel:
        raise UsageError(
            "model.per_channel=true tells channels apart by what the encoder learns of them, and"
            " model.encoder=none learns nothing; use model.encoder=linear or segments."
        )
    if model.head == "decoder":
        raise UsageError(
            "model.head=decoder tells the steps after a window apart by what the encoder learns of"
            " them, and model.encoder=none learns nothing; use model.encoder=segments or linear."
        )
