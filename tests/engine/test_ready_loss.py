"""A loss whose gradients are computed already behaves like any other loss."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from gru_parallel.engine.ready_loss import with_gradients


@pytest.fixture
def leaves() -> list[Tensor]:
    return [torch.zeros(2, requires_grad=True), torch.zeros(3, requires_grad=True)]


def gradients() -> list[Tensor | None]:
    return [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0, 5.0])]


def grads_of(leaves: list[Tensor]) -> list[list[float] | None]:
    return [None if leaf.grad is None else leaf.grad.tolist() for leaf in leaves]


def test_the_loss_keeps_its_value_and_nothing_is_handed_out_before_backward(
    leaves: list[Tensor],
) -> None:
    loss = with_gradients(torch.tensor(7.0), leaves, gradients())

    assert loss.item() == 7.0
    assert loss.requires_grad
    assert grads_of(leaves) == [None, None]


def test_backward_hands_each_leaf_its_gradient(leaves: list[Tensor]) -> None:
    with_gradients(torch.tensor(7.0), leaves, gradients()).backward()

    assert grads_of(leaves) == [[1, 2], [3, 4, 5]]


def test_gradients_are_scaled_by_what_is_done_to_the_loss(leaves: list[Tensor]) -> None:
    loss = with_gradients(torch.tensor(7.0), leaves, gradients())

    (loss / 2 + 1).backward()

    assert grads_of(leaves) == [[0.5, 1], [1.5, 2, 2.5]]


def test_gradients_that_come_too_large_are_handed_out_as_they_should_be(
    leaves: list[Tensor],
) -> None:
    loss = with_gradients(torch.tensor(7.0), leaves, gradients(), scale=4.0)

    loss.backward(retain_graph=True)
    assert grads_of(leaves) == [[0.25, 0.5], [0.75, 1, 1.25]]
    (4 * loss).backward()
    assert grads_of(leaves) == [[1.25, 2.5], [3.75, 5, 6.25]]


def test_several_losses_accumulate(leaves: list[Tensor]) -> None:
    for _ in range(2):
        with_gradients(torch.tensor(7.0), leaves, gradients()).backward()

    assert grads_of(leaves) == [[2, 4], [6, 8, 10]]


def test_gradients_that_were_handed_out_are_not_changed_by_later_ones(
    leaves: list[Tensor],
) -> None:
    given = gradients()
    for _ in range(2):
        with_gradients(torch.tensor(7.0), leaves, given).backward()

    assert given[0] is not None
    assert given[0].tolist() == [1, 2]


def place_of(tensor: Tensor | None) -> int:
    assert tensor is not None
    return tensor.data_ptr()


def test_what_nobody_else_needs_is_handed_over_and_not_copied(leaves: list[Tensor]) -> None:
    given = gradients()
    places = [place_of(gradient) for gradient in given]
    loss = with_gradients(torch.tensor(7.0), leaves, given)
    given.clear()

    loss.backward()

    assert [place_of(leaf.grad) for leaf in leaves] == places
    assert grads_of(leaves) == [[1, 2], [3, 4, 5]]


def test_a_graph_that_is_retained_gives_copies(leaves: list[Tensor]) -> None:
    loss = with_gradients(torch.tensor(7.0), leaves, gradients())

    for found in (torch.autograd.grad(loss, leaves, retain_graph=True) for _ in range(2)):
        assert [gradient.tolist() for gradient in found] == [[1, 2], [3, 4, 5]]
        found[0].zero_()


def test_gradients_that_are_multiplied_are_all_at_once(
    leaves: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    n_multiplied = []
    multiply = torch._foreach_mul

    def noted(tensors: Sequence[Tensor], factor: Tensor) -> list[Tensor]:
        n_multiplied.append(len(tensors))
        return [*multiply(tensors, factor)]

    monkeypatch.setattr(torch, "_foreach_mul", noted)
    halves = [torch.zeros(2, dtype=torch.bfloat16, requires_grad=True) for _ in range(2)]
    of_halves: list[Tensor | None] = [torch.ones(2, dtype=torch.bfloat16)] * 2
    sources = [leaves[0], halves[0], leaves[1], halves[1]]
    first, second = gradients()
    loss = with_gradients(torch.tensor(7.0), sources, [first, of_halves[0], second, of_halves[1]])

    loss.backward(torch.tensor(0.5))

    assert grads_of(sources) == [[0.5, 1], [0.5, 0.5], [1.5, 2, 2.5], [0.5, 0.5]]
    # The others are narrower than the scale.
    assert n_multiplied == [2]


def test_many_gradients_of_the_loss_come_out_at_once(leaves: list[Tensor]) -> None:
    loss = with_gradients(torch.tensor(7.0), leaves, gradients())

    found = torch.autograd.grad(loss, leaves, torch.tensor([1.0, 2.0]), is_grads_batched=True)

    assert found[0].tolist() == [[1, 2], [2, 4]]


def test_vmap_over_gradients_of_the_loss(leaves: list[Tensor]) -> None:
    loss = with_gradients(torch.tensor(7.0), leaves, gradients())

    found = torch.func.vmap(lambda v: torch.autograd.grad(loss, leaves, v, retain_graph=False))(
        torch.tensor([1.0, 2.0])
    )

    assert found[0].tolist() == [[1, 2], [2, 4]]


def test_a_leaf_without_gradient_gets_none(leaves: list[Tensor]) -> None:
    with_gradients(torch.tensor(7.0), leaves, [None, torch.ones(3)]).backward()

    assert grads_of(leaves) == [None, [1, 1, 1]]


def test_frozen_leaves_are_left_alone() -> None:
    leaves = [torch.zeros(2), torch.zeros(3, requires_grad=True)]

    with_gradients(torch.tensor(7.0), leaves, [None, torch.ones(3)]).backward()

    assert grads_of(leaves) == [None, [1, 1, 1]]


def test_a_loss_on_frozen_leaves_only_has_no_history() -> None:
    loss = with_gradients(torch.tensor(7.0), [torch.zeros(2)], [None])

    assert not loss.requires_grad


def test_hooks_on_leaves_see_the_gradients(leaves: list[Tensor]) -> None:
    leaves[0].register_hook(lambda gradient: gradient * 10)

    with_gradients(torch.tensor(7.0), leaves, gradients()).backward()

    assert grads_of(leaves) == [[10, 20], [3, 4, 5]]


def test_a_second_derivative_is_refused(leaves: list[Tensor]) -> None:
    loss = with_gradients(torch.tensor(7.0), leaves, gradients())

    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(loss, leaves, create_graph=True)


def test_each_device_has_a_node_of_its_own_that_hands_out_its_gradients(
    leaves: list[Tensor],
) -> None:
    # Autograd waits for the stream of the node that a gradient comes from.
    elsewhere = torch.zeros(2, device="meta", requires_grad=True)
    loss = with_gradients(
        torch.tensor(7.0), [elsewhere, *leaves], [torch.ones(2, device="meta"), *gradients()]
    )

    (2 * loss).backward()

    assert grads_of(leaves) == [[2, 4], [6, 8, 10]]
    assert elsewhere.grad is not None
    assert elsewhere.grad.shape == (2,)
    givers = {
        getattr(after, "variable", None): node
        for node in nodes_of(loss)
        for after, _ in node.next_functions
    }
    assert givers[elsewhere]._input_metadata[0].device == elsewhere.device
    assert all(givers[leaf]._input_metadata[0].device == leaf.device for leaf in leaves)


def nodes_of(loss: Tensor) -> list[Any]:
    """List the nodes of a graph that have others after them."""
    found: list[Any] = [loss.grad_fn]
    for node in found:
        found += [after for after, _ in node.next_functions if after is not None]
    return [node for node in found if node.next_functions]
