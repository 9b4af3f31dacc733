"""Replicas: gradients are added up a stage at a time, in one order, and come back as they were."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from gru_parallel.engine.stages import make_stages, modules_of_stages
from gru_parallel.processes.replicas import Replicas, _in_a_row, _taken_apart
from gru_parallel.ranks import Ranks
from gru_parallel.stage.stage import Stage
from tests.builders import build_model, make_plan

Gradients = list[Tensor | None]


@dataclass
class FakeSum:
    """Stands for an `OrderedSum` of two replicas, which ends when both wait for it.

    Attributes:
        row: of this replica.
        before: what this replica has begun to add up before.
        others: what the other replica has begun to add up.
    """

    row: Tensor
    before: list["FakeSum"]
    others: list["FakeSum"]
    is_added: bool = False

    def add(self) -> None:
        # On all replicas in one order, as they began.
        assert all(one.is_added for one in self.before)
        self.is_added = True

    def wait(self) -> Tensor:
        assert self.is_added
        return self.row + self.others[len(self.before)].row


class FakeRanks:
    def waiting(self, what: str) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, list[FakeSum]]]:
    """What each of two replicas has begun to add up; a replica's group is its number."""
    begun: dict[int, list[FakeSum]] = {1: [], 2: []}

    def begin(row: Tensor, group: int) -> FakeSum:
        assert len(row) % len(begun) == 0
        begun[group].append(FakeSum(row, list(begun[group]), begun[3 - group]))
        return begun[group][-1]

    monkeypatch.setattr("gru_parallel.processes.replicas.OrderedSum", begin)
    monkeypatch.setattr(dist, "get_world_size", lambda _: len(begun))
    yield begun
    for one, other in zip(*begun.values(), strict=True):
        assert one.row.shape == other.row.shape
        assert one.row.dtype == other.row.dtype


@pytest.fixture
def stages() -> list[Stage]:
    """Three stages of a model of which a block has weights of another type."""
    model = build_model(dtype=torch.float32)
    model.gru.gru_blocks[1].double()
    plan = make_plan([1, 2, 1])
    return make_stages(plan, modules_of_stages(model, plan))


def replicas_of(stages: list[Stage], group: int | None) -> Replicas:
    return Replicas(cast("Ranks", FakeRanks()), cast(Any, group), stages)


def gradients_of(stages: list[Stage], gap: int) -> dict[int, Gradients]:
    """For each stage, gradients of its weights, with a None at every `gap`-th place."""
    return {
        stage.index: [
            None if index % gap == 0 else torch.randn_like(weight)
            for index, weight in enumerate(stage.modules.weights())
        ]
        for stage in stages
    }


def sum_of(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other


def test_each_weight_gets_its_sum_and_none_where_no_replica_found_a_gradient(
    stages: list[Stage], begun: dict[int, list[FakeSum]]
) -> None:
    found = [gradients_of(stages, 2), gradients_of(stages, 3)]
    both = [replicas_of(stages, group) for group in begun]
    for stage in reversed(stages):
        for replica, gradients in zip(both, found, strict=True):
            replica.add(stage, gradients[stage.index])

    expected = [
        sum_of(*pair)
        for stage in stages
        for pair in zip(*(gradients[stage.index] for gradients in found), strict=True)
    ]
    assert {type(gradient) for gradient in expected} == {Tensor, type(None)}
    for replica in both:
        sums = replica.sums()
        assert len(sums) == len(expected)
        for actual, wanted in zip(sums, expected, strict=True):
            if actual is None or wanted is None:
                assert actual is wanted
            else:
                assert actual.dtype == wanted.dtype
                assert torch.equal(actual, wanted)


def test_a_stage_begins_as_soon_as_it_and_the_stages_after_it_have_their_gradients(
    stages: list[Stage], begun: dict[int, list[FakeSum]]
) -> None:
    first, second, last = stages
    orders = {1: [last, second, first], 2: [first, last, second]}
    n_begun: dict[int, list[int]] = {1: [], 2: []}
    for group, order in orders.items():
        replica, gradients = replicas_of(stages, group), gradients_of(stages, 2)
        for stage in order:
            replica.add(stage, gradients[stage.index])
            n_begun[group].append(len(begun[group]))

    # One for each type of a stage's weights; the second stage has two. Whatever the order in which
    # they end, replicas begin them in the same, as the fixture checks.
    assert n_begun == {1: [1, 3, 4], 2: [0, 1, 4]}


def test_the_next_step_begins_anew(stages: list[Stage], begun: dict[int, list[FakeSum]]) -> None:
    both = [replicas_of(stages, group) for group in begun]
    for _ in range(2):
        gradients = gradients_of(stages, 2)
        for replica in both:
            for stage in reversed(stages):
                replica.add(stage, gradients[stage.index])
        sums = [replica.sums() for replica in both]
        for found in sums:
            wanted = [gradient for own in gradients.values() for gradient in own]
            for actual, one in zip(found, wanted, strict=True):
                assert (actual is None) == (one is None)
                assert actual is None or one is None or torch.equal(actual, one * 2)


def test_one_replica_alone_adds_nothing_up(
    stages: list[Stage], begun: dict[int, list[FakeSum]]
) -> None:
    replicas_of(stages, None).add(stages[-1], gradients_of(stages, 2)[2])

    assert begun == {1: [], 2: []}


def test_weights_of_16_bits_are_added_up_in_float32_whatever_a_replica_has_found() -> None:
    # 256 + 1 is 256 in bfloat16.
    weights = [torch.zeros(3, dtype=torch.bfloat16), torch.zeros(2, 2)]
    found: list[Gradients] = [[torch.full((3,), 256.0), None], [torch.ones(3), None], [None, None]]

    rows = [_in_a_row(weights, gradients, 2) for gradients in found]

    assert {tuple((row.dtype, row.numel()) for row in each) for each in rows} == {
        ((torch.float32, 10),)
    }
    total = _taken_apart(weights, [sum(each, torch.zeros(10)) for each in zip(*rows, strict=True)])
    assert total[0] is not None
    assert total[0].tolist() == [257.0] * 3
    assert total[1] is None
