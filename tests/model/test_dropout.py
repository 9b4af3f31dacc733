"""Dropout draws by key: the same numbers wherever a layer lives, others for any other key."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch import Tensor

from gru_parallel.model import DropoutKey, GRUStack
from gru_parallel.model.dropout import dropout

KEY = DropoutKey(seed=1, step=2, micro_batch=3, chunk=4)


def mask(key: DropoutKey, layer: int = 5, shape: tuple[int, ...] = (7, 3, 8)) -> Tensor:
    return dropout(torch.ones(shape), 0.5, layer, key)


def run_stack(layers_per_block: int, key: DropoutKey | None, *, train: bool = True) -> Tensor:
    torch.manual_seed(0)
    stack = GRUStack(4, 6, 5, layers_per_block, dropout=0.4).train(train)
    generator = torch.Generator().manual_seed(3)
    y: Tensor = stack(torch.randn(7, 3, 4, generator=generator), None, key)[0]
    return y


def test_the_same_key_and_layer_draw_the_same_numbers() -> None:
    assert torch.equal(mask(KEY), mask(replace(KEY)))


@pytest.mark.parametrize("field", ["seed", "step", "micro_batch", "chunk"])
def test_any_other_key_draws_other_numbers(field: str) -> None:
    other = replace(KEY, **{field: getattr(KEY, field) + 1})

    assert not torch.equal(mask(KEY), mask(other))


def test_a_seed_has_sixty_four_bits_of_either_sign() -> None:
    seeds = (0, -5, 2**63 - 1, 2**63, 2**64 - 1)
    masks = [mask(replace(KEY, seed=seed)) for seed in seeds]

    assert not any(torch.equal(*pair) for pair in combinations(masks, 2))


def test_every_layer_draws_other_numbers() -> None:
    assert not torch.equal(mask(KEY, layer=5), mask(KEY, layer=6))


def test_neighbouring_keys_do_not_change_places() -> None:
    """Sums of the numbers in a key would give these the same stream."""
    assert not torch.equal(
        mask(DropoutKey(0, 1, 2, 3), layer=4), mask(DropoutKey(0, 2, 1, 3), layer=4)
    )
    assert not torch.equal(
        mask(DropoutKey(0, 0, 0, 1), layer=0), mask(DropoutKey(0, 0, 0, 0), layer=1)
    )


def test_numbers_drawn_by_key_leave_torchs_own_generator_alone() -> None:
    before = torch.get_rng_state()

    mask(KEY)

    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_key_numbers_come_from_torchs_own_generator() -> None:
    torch.manual_seed(0)
    first, second = (dropout(torch.ones(50), 0.5, 0, None) for _ in range(2))
    torch.manual_seed(0)
    again = dropout(torch.ones(50), 0.5, 0, None)

    assert not torch.equal(first, second)
    assert torch.equal(first, again)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.8])
def test_the_share_that_stays_and_its_scale_are_right(probability: float) -> None:
    n_numbers = 100_000
    dropped = dropout(torch.ones(n_numbers, dtype=torch.float64), probability, 0, KEY)

    kept = dropped[dropped != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - probability)))
    # Five standard deviations of a binomial share.
    margin = 5 * (probability * (1 - probability) / n_numbers) ** 0.5
    assert len(kept) / n_numbers == pytest.approx(1 - probability, abs=margin)


def test_layers_and_cells_are_dropped_independently() -> None:
    shape = (100_000,)
    first = mask(KEY, 0, shape) > 0
    for other in (mask(KEY, 1, shape) > 0, mask(replace(KEY, chunk=5), 0, shape) > 0):
        # Independent masks of one half agree on one half.
        assert (first == other).float().mean().item() == pytest.approx(0.5, abs=0.01)


def test_gradients_pass_where_outputs_stay() -> None:
    y = torch.ones(50, requires_grad=True)

    dropped = dropout(y, 0.5, 0, KEY)
    (gradient,) = torch.autograd.grad(dropped.sum(), y)

    assert torch.equal(gradient, dropped.detach())


@pytest.mark.parametrize("layers_per_block", [2, 3, 5])
def test_a_stack_drops_the_same_numbers_however_it_is_cut(layers_per_block: int) -> None:
    assert torch.equal(run_stack(layers_per_block, KEY), run_stack(1, KEY))


@pytest.mark.parametrize("key", [KEY, None])
def test_nothing_is_dropped_in_evaluation(key: DropoutKey | None) -> None:
    torch.manual_seed(0)
    without = GRUStack(4, 6, 5)
    generator = torch.Generator().manual_seed(3)
    expected, _ = without(torch.randn(7, 3, 4, generator=generator))

    assert torch.equal(run_stack(2, key, train=False), expected)
    assert not torch.equal(run_stack(2, key, train=True), expected)


def test_every_layer_but_the_last_of_the_stack_is_followed_by_dropout() -> None:
    stack = GRUStack(4, 6, 5, 2, dropout=0.4)
    entering: list[Tensor] = []
    for block in stack.gru_blocks:
        for part in block.gru_parts:
            part.register_forward_pre_hook(lambda _, inputs: entering.append(inputs[0]))

    y, _ = stack(torch.randn(7, 3, 4), None, KEY)

    assert len(entering) == 5
    assert [bool((x == 0).any()) for x in entering] == [False, True, True, True, True]
    assert not (y == 0).any()
