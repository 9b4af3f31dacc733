"""What ranks have between them is brought together as one process would have it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer
from torch.utils._pytree import tree_leaves, tree_map_only

from gru_parallel.ranks import Ranks
from gru_parallel.training.optimizer_state import by_name, names_in, part_for
from gru_parallel.training.whole_state import load_part, names_of_all, whole_optimizer_state

Result = TypeVar("Result")
WAIT_S = 5.0
LAYERS_OF_RANKS = ((0, 2), (1, 3))


class FakeRanks:
    """Ranks that are threads of this process, as far as bringing states together needs them."""

    def __init__(self, n_ranks: int) -> None:
        self.gathered: list[Any] = [None] * n_ranks
        self.barrier = threading.Barrier(n_ranks, timeout=WAIT_S)


class FakeRank:
    def __init__(self, ranks: FakeRanks, rank: int) -> None:
        self._ranks = ranks
        self.rank = rank
        self.is_first = rank == 0

    def gather(self, thing: Any, what: str) -> list[Any]:
        # Else one process would hold the state of all.
        assert all(leaf.is_meta for leaf in tree_leaves(thing) if isinstance(leaf, Tensor))
        self._ranks.gathered[self.rank] = thing
        self._ranks.barrier.wait()
        everyone = list(self._ranks.gathered)
        self._ranks.barrier.wait()
        return everyone


def on_all_ranks(work: Callable[[Ranks, int], Result], n_ranks: int = 2) -> list[Result]:
    """Have every rank do the same work, and return what each came to."""
    ranks = FakeRanks(n_ranks)
    with ThreadPoolExecutor(n_ranks) as pool:
        each = [
            pool.submit(work, cast(Ranks, FakeRank(ranks, rank)), rank) for rank in range(n_ranks)
        ]
        return [one.result(WAIT_S) for one in each]


def make_model(layers: Sequence[int] = range(4), *, seed: int = 0) -> nn.Sequential:
    """Make a model whose other layers are on the meta device; ranks draw no random numbers."""
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
    with torch.no_grad():
        for place, weight in enumerate(model.parameters()):
            weight.copy_(torch.arange(weight.numel()).view_as(weight) + 10.0 * place + seed)
    for index, layer in enumerate(model):
        if index not in layers:
            layer.to("meta")
    return model


def part_of(rank: int, **options: int) -> nn.Sequential:
    return make_model(LAYERS_OF_RANKS[rank % len(LAYERS_OF_RANKS)], **options)


def in_one_group(model: nn.Module) -> Optimizer:
    return Adam([weight for weight in model.parameters() if not weight.is_meta], lr=0.1)


def in_two_groups(model: nn.Module) -> Optimizer:
    here = [weight for weight in model.parameters() if not weight.is_meta]
    matrices = [weight for weight in here if weight.dim() > 1]
    biases = [weight for weight in here if weight.dim() == 1]
    return SGD([{"params": biases}, {"params": matrices, "momentum": 0.5}], lr=0.1, momentum=0.9)


def take_steps(model: nn.Module, optimizer: Optimizer, n_steps: int = 2) -> None:
    """Train with gradients that depend on the weights' places alone, wherever they are."""
    for step in range(n_steps):
        for place, weight in enumerate(model.parameters()):
            if not weight.is_meta:
                weight.grad = torch.full_like(weight, (place + 1.0) / (step + 2.0))
        optimizer.step()


def assert_same_state(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


OPTIMIZERS = {"one group": in_one_group, "two groups": in_two_groups}
MakeOptimizer = Callable[[nn.Module], Optimizer]


@pytest.fixture(params=OPTIMIZERS)
def make_optimizer(request: pytest.FixtureRequest) -> MakeOptimizer:
    return OPTIMIZERS[request.param]


def test_a_rank_loads_its_own_part_of_a_whole_state() -> None:
    model, whole = part_of(1), make_model(seed=1).state_dict()

    load_part(model, whole)

    for name, weight in model.state_dict().items():
        assert weight.is_meta == name.startswith(("0", "2"))
        if not weight.is_meta:
            assert torch.equal(weight, whole[name]), name


@pytest.mark.parametrize("rank", [0, 1])
def test_a_whole_state_with_other_names_is_refused_by_every_rank(rank: int) -> None:
    model, whole = part_of(rank), make_model(seed=1).state_dict()
    whole["4.weight"] = whole.pop("3.weight")

    with pytest.raises(RuntimeError, match=r'(?s)Missing key.*"3.weight".*Unexpected.*"4.weight"'):
        load_part(model, whole)


def test_a_rank_loads_what_there_is_of_a_state_that_need_not_be_whole() -> None:
    model, whole = part_of(1), make_model(seed=1).state_dict()
    del whole["0.weight"], whole["1.weight"]
    whole["4.weight"] = torch.ones(2, 2)

    load_part(model, whole, strict=False)

    assert torch.equal(model.state_dict()["3.weight"], whole["3.weight"])


def named_state(optimizer: Optimizer, model: nn.Module) -> dict[str, Any]:
    return by_name(optimizer.state_dict(), names_in(optimizer, model))


def any_meta(state: dict[str, Any]) -> bool:
    return any(leaf.is_meta for leaf in tree_leaves(state) if isinstance(leaf, Tensor))


def test_the_state_of_all_optimisers_is_that_of_one_over_all_weights(
    make_optimizer: MakeOptimizer,
) -> None:
    def work(ranks: Ranks, rank: int) -> dict[str, Any]:
        model = part_of(rank)
        optimizer = make_optimizer(model)
        take_steps(model, optimizer)
        return whole_optimizer_state(named_state(optimizer, model), model, ranks)

    alone = make_model()
    optimizer = make_optimizer(alone)
    take_steps(alone, optimizer)

    of_ranks, expected = on_all_ranks(work), named_state(optimizer, alone)

    for found in of_ranks:
        assert list(found["state"]) == list(expected["state"])
        assert found["param_groups"] == expected["param_groups"]
        outlines = [
            tree_map_only(Tensor, lambda t: t.to("meta"), each["state"])
            for each in (found, expected)
        ]
        assert_same_state(*outlines)
    together = {
        name: next(of for found in of_ranks if not any_meta(of := found["state"][name]))
        for name in expected["state"]
    }
    assert_same_state(together, expected["state"])


def test_ranks_resume_from_the_state_of_one_optimiser_over_all_weights(
    make_optimizer: MakeOptimizer,
) -> None:
    alone = make_model()
    optimizer = make_optimizer(alone)
    take_steps(alone, optimizer)
    weights = copy.deepcopy(alone.state_dict())
    saved = copy.deepcopy(optimizer.state_dict())

    def work(ranks: Ranks, rank: int) -> nn.Module:
        model = part_of(rank, seed=rank + 1)
        load_part(model, weights)
        own = make_optimizer(model)
        names = names_in(own, model)
        names_of_numbers = names_of_all(names, model, ranks)
        assert names_of_numbers == names_in(optimizer, alone)
        state = by_name(saved, names_of_numbers)
        own.load_state_dict(part_for(names, state))
        take_steps(model, own)
        return model

    models = on_all_ranks(work)
    take_steps(alone, optimizer)

    for model in models:
        for name, weight in model.state_dict().items():
            if not weight.is_meta:
                assert torch.equal(weight, alone.state_dict()[name]), name
