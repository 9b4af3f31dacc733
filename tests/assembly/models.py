"""Models of every kind that settings can ask for, small ones, and the widths of their windows."""

from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.config.schema import Config
from gru_parallel.data.widths import Widths

N_CHANNELS, N_TARGETS = 3, 2
_FORECASTER = ["model.encoder=segments", "model.segment_length=8", "model.head=decoder"]

MODELS = {
    "a window": [],
    "every step": ["model.head=every_step"],
    "no encoder": ["model.encoder=none"],
    "a decoder over segments": [*_FORECASTER, "data.horizon=20"],
    "channels by themselves": ["model.per_channel=true"],
    "SegRNN": [*_FORECASTER, "model.per_channel=true", "model.dropout=0.5"],
    "both ways": ["model.bidirectional=[true,false,false,true]", "model.h_0=learned"],
    "known ahead": ["data.calendar=[hour,day]"],
    "known ahead of a decoder": [*_FORECASTER, "data.calendar=[hour,day]"],
    "known ahead of SegRNN": [*_FORECASTER, "model.per_channel=true", "data.calendar=[hour]"],
}


def read(name: str, *overrides: str) -> Config:
    """Read the settings of a model, and some more."""
    size = ("model.num_layers=4", "model.hidden_size=4", "seed=3")
    return read_config(compose_config([*size, *MODELS[name], *overrides]))


def widths_of(config: Config) -> Widths:
    """Return how many numbers a row of the model's windows has."""
    n_targets = N_CHANNELS if config.model.per_channel else N_TARGETS
    return Widths(N_CHANNELS, n_targets, len(config.data.calendar or ()))
