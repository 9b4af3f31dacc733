"""Encoders, segments, channels and decoders that do not go together are refused."""

import pytest

from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.errors import UsageError

SEGMENTS = ("model.encoder=segments", "model.segment_length=24", "data.input_length=96")

REFUSED = {
    "no length": (
        ("model.encoder=segments", "data.input_length=6"),
        "give model.segment_length, a divisor of data.input_length=6",
    ),
    "a length without segments": (
        ("model.segment_length=24",),
        "is of no use with model.encoder=linear; use model.encoder=segments, or leave it out",
    ),
    "a length that does not divide": (
        (*SEGMENTS, "model.segment_length=40"),
        r"divide data.input_length=96, .+ use a divisor of it, or data.input_length=80",
    ),
    "a length beyond the window": (
        (*SEGMENTS, "model.segment_length=100"),
        "or data.input_length=100",
    ),
    "every step": (
        (*SEGMENTS, "model.head=every_step", "data.centre=none"),
        "one step of 24 rows; use model.head=window or decoder",
    ),
    "short windows": (
        (*SEGMENTS, "data.min_input_length=24"),
        "model.encoder=segments takes whole windows alone, and data.min_input_length=24",
    ),
    "a decoder and short windows": (
        ("model.head=decoder", "data.min_input_length=24"),
        "model.head=decoder takes whole windows alone",
    ),
    "both directions": (
        (*SEGMENTS, "model.head=decoder", "model.bidirectional=[false,false,false,true]"),
        "reverse direction of a bidirectional block ends at its beginning",
    ),
    "no encoder to tell channels": (
        ("model.encoder=none", "model.per_channel=true"),
        "use model.encoder=linear or segments",
    ),
    "no encoder to tell steps": (
        ("model.encoder=none", "model.head=decoder"),
        "use model.encoder=segments or linear",
    ),
    "more chunks than segments": (
        (*SEGMENTS, "schedule.n_chunks=5"),
        r"the 4 time steps of a window \(data.input_length=96, model.segment_length=24\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_together_is_refused(name: str) -> None:
    overrides, words = REFUSED[name]

    with pytest.raises(UsageError, match=words):
        read_config(compose_config(list(overrides)))


@pytest.mark.parametrize(
    ("overrides", "n_steps", "n_decoding"),
    [
        ((), 48, 0),
        (SEGMENTS, 4, 0),
        ((*SEGMENTS, "model.head=decoder", "data.horizon=30"), 4, 2),
        (("model.head=decoder",), 48, 8),
    ],
)
def test_the_steps_of_the_stack_follow_from_the_settings(
    overrides: tuple[str, ...], n_steps: int, n_decoding: int
) -> None:
    config = read_config(compose_config(list(overrides)))

    assert (config.n_steps, config.n_decoding) == (n_steps, n_decoding)
