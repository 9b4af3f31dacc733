"""A rank builds its own part of the model, with the weights that one device would draw."""

from collections.abc import Collection
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gru_parallel.assembly.model_spec import model_spec
from gru_parallel.assembly.module import build_module
from gru_parallel.config.schema import Config
from gru_parallel.placement.cost import block_costs
from tests.assembly.models import MODELS, read, widths_of

BLOCKS_OF_RANKS = ({0, 3}, {1, 2})


def weights_of(config: Config, kept_blocks: Collection[int] | None = None) -> dict[str, Tensor]:
    module = build_module(config, widths_of(config), kept_blocks)
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
    spec = model_spec(config, widths_of(config))
    learned = [weight for key, weight in weights_of(config).items() if "h_0" not in key]

    assert sum(cost.n_parameters for cost in block_costs(spec, 1, 1)) == sum(
        weight.numel() for weight in learned
    )
