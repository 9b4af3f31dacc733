"""A rank builds its own part of the model, with the weights that one device would draw."""

from collections.abc import Collection
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gru_parallel.assembly.model_spec import model_spec
from gru_parallel.assembly.module import build_module
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.config.schema import Config
from gru_parallel.data.widths import Widths
from gru_parallel.placement.cost import block_costs

N_CHANNELS, N_TARGETS = 3, 2
FORECASTER = ["model.encoder=segments", "model.segment_length=8", "model.head=decoder"]
BLOCKS_OF_RANKS = ({0, 3}, {1, 2})

MODELS = {
    "a window": [],
    "every step": ["model.head=every_step"],
    "no encoder": ["model.encoder=none"],
    "a decoder over segments": [*FORECASTER, "data.horizon=20"],
    "channels by themselves": ["model.per_channel=true"],
    "SegRNN": [*FORECASTER, "model.per_channel=true", "model.dropout=0.5"],
    "both ways": ["model.bidirectional=[true,false,false,true]", "model.h_0=learned"],
    "known ahead": ["data.calendar=[hour,day]"],
    "known ahead of a decoder": [*FORECASTER, "data.calendar=[hour,day]"],
    "known ahead of SegRNN": [*FORECASTER, "model.per_channel=true", "data.calendar=[hour]"],
}


def read(name: str) -> Config:
    overrides = ["model.num_layers=4", "model.hidden_size=4", "seed=3", *MODELS[name]]
    return read_config(compose_config(overrides))


def weights_of(config: Config, kept_blocks: Collection[int] | None = None) -> dict[str, Tensor]:
    module = build_module(config, _widths(config), kept_blocks)
    return dict(module.model.named_parameters())


@pytest.mark.parametrize("name", MODELS)
def test_the_parts_of_all_ranks_are_the_whole_model_to_the_bit(name: str) -> None:
    config = read(name)
    whole = weights_of(config)
    parts = [weights_of(config, blocks) for blocks in BLOCKS_OF_RANKS]

    for key, expected in whole.items():
        (own,) = [part[key] for part in parts if not part[key].is_meta]
        assert own.dtype == expected.dtype
        assert torch.equal(own, expected), key
    assert all(list(part) == list(whole) for part in parts)


def test_another_seed_draws_other_weights() -> None:
    config = read("a window")
    first = weights_of(config, BLOCKS_OF_RANKS[0])
    other = weights_of(replace(config, seed=4), BLOCKS_OF_RANKS[0])

    own = [key for key, weight in first.items() if not weight.is_meta]
    assert len(own) == 2 + 2 * 4 + 2
    assert not any(torch.equal(first[key], other[key]) for key in own)


def test_a_model_in_float64_has_that_type_before_weights_are_loaded() -> None:
    config = read("SegRNN")
    expected = weights_of(config)
    found = weights_of(replace(config, trainer=replace(config.trainer, precision="64-true")))

    assert {weight.dtype for weight in found.values()} == {torch.float64}
    assert all(torch.equal(found[name], weight.double()) for name, weight in expected.items())


@pytest.mark.parametrize("name", MODELS)
def test_a_plan_counts_the_parameters_that_are_built(name: str) -> None:
    config = read(name)
    spec = model_spec(config, _widths(config))
    learned = [weight for key, weight in weights_of(config).items() if "h_0" not in key]

    assert sum(cost.n_parameters for cost in block_costs(spec, 1, 1)) == sum(
        weight.numel() for weight in learned
    )


def _widths(config: Config) -> Widths:
    n_targets = N_CHANNELS if config.model.per_channel else N_TARGETS
    return Widths(N_CHANNELS, n_targets, len(config.data.calendar or ()))
