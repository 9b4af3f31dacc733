"""Whatever autograd can be asked for: graphs kept, shared, cut, hooked and checkpointed."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from tests.dropin.twins import (
    CUTS,
    TWO_CPUS,
    assert_same,
    gradients,
    make_twins,
    make_x,
    refusal,
    weighted_sum,
)
from tests.grids import covering

Use = Callable[[nn.GRU, Tensor], object]


def twice(gru: nn.GRU, x: Tensor) -> None:
    loss = weighted_sum(gru(x))
    loss.backward(retain_graph=True)
    loss.backward()


def three_times_by_parts(gru: nn.GRU, x: Tensor) -> None:
    y, h_n = gru(x)
    y[0].sum().backward(retain_graph=True)
    y[-1].square().sum().backward(retain_graph=True)
    h_n.sum().backward()


def siamese(gru: nn.GRU, x: Tensor) -> None:
    (left, _), (right, _) = gru(x), gru(x.flip(0))
    (left * right).sum().backward()


def one_after_the_other(gru: nn.GRU, x: Tensor) -> None:
    _, h_n = gru(x)
    weighted_sum(gru(x, h_n)).backward()


def accumulated(gru: nn.GRU, x: Tensor) -> None:
    for part in x.split(1, dim=1):
        weighted_sum(gru(part.contiguous())).backward()


def one_step_of_the_outputs(gru: nn.GRU, x: Tensor) -> None:
    gru(x)[0][2, 1].sum().backward()


def one_layers_state(gru: nn.GRU, x: Tensor) -> None:
    gru(x)[1][0].sum().backward()


def detached_in_between(gru: nn.GRU, x: Tensor) -> None:
    _, h_n = gru(x)
    weighted_sum(gru(x, h_n.detach())).backward()


def changed_in_place(gru: nn.GRU, x: Tensor) -> None:
    y, h_n = gru(x)
    y.mul_(2.0).relu_()
    h_n += 1.0
    weighted_sum([y, h_n]).backward()


def by_the_input_alone(gru: nn.GRU, x: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(weighted_sum(gru(x)), [x]))


def by_one_weight_alone(gru: nn.GRU, x: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(weighted_sum(gru(x)), [gru.weight_hh_l1]))


def some_inputs_of_backward(gru: nn.GRU, x: Tensor) -> None:
    weighted_sum(gru(x)).backward(inputs=[x, gru.bias_hh_l0])


def a_gradient_of_an_expanded_scalar(gru: nn.GRU, x: Tensor) -> None:
    gru(x)[0].mean().backward()


def under_anomaly_detection(gru: nn.GRU, x: Tensor) -> None:
    with pytest.warns(UserWarning, match="Anomaly"), torch.autograd.detect_anomaly():
        weighted_sum(gru(x)).backward()


def a_checkpoint(gru: nn.GRU, x: Tensor) -> None:
    y, h_n = checkpoint(gru, x, use_reentrant=False)
    weighted_sum([y, h_n]).backward()


def a_checkpoint_that_is_reentrant(gru: nn.GRU, x: Tensor) -> None:
    y, h_n = checkpoint(gru, x, use_reentrant=True)
    weighted_sum([y, h_n]).backward()


def a_checkpoint_of_more_than_the_gru(gru: nn.GRU, x: Tensor) -> None:
    def more(x: Tensor) -> Tensor:
        return gru(x.tanh())[0].exp().square()

    y = checkpoint(more, x, use_reentrant=False)
    assert isinstance(y, Tensor)
    y.sum().backward()


def saved_elsewhere(gru: nn.GRU, x: Tensor) -> None:
    with torch.autograd.graph.save_on_cpu():
        loss = weighted_sum(gru(x))
    loss.backward()


def hooks_on_all_tensors(gru: nn.GRU, x: Tensor) -> list[object]:
    seen: list[object] = []

    def note_and_double(gradient: Tensor) -> Tensor:
        seen.append(gradient.clone())
        return gradient * 2

    tensors = [x, *gru.parameters()]
    handles = [tensor.register_hook(note_and_double) for tensor in tensors]
    y, h_n = gru(x)
    handles += [tensor.register_hook(note_and_double) for tensor in (y, h_n)]
    weighted_sum([y, h_n]).backward()
    for handle in handles:
        handle.remove()
    return sorted(seen, key=lambda gradient: gradient.sum().item())


def hooks_after_accumulation(gru: nn.GRU, x: Tensor) -> list[object]:
    seen = []
    for parameter in gru.parameters():
        parameter.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    weighted_sum(gru(x)).backward()
    return sorted(seen, key=lambda gradient: gradient.sum().item())


def hooks_on_the_module(gru: nn.GRU, x: Tensor) -> list[object]:
    seen: list[object] = []

    def note(module: nn.Module, *groups: tuple[Tensor, ...]) -> None:
        # Detached: the hook would else hold the graph that holds the hook.
        seen.extend(tensor.detach() for group in groups for tensor in group)

    gru.register_forward_pre_hook(note)
    gru.register_forward_hook(note)
    gru.register_full_backward_pre_hook(note)
    gru.register_full_backward_hook(note)
    weighted_sum(gru(x)).backward()
    return seen


USES: dict[str, Use] = {
    use.__name__.replace("_", " "): use
    for use in (
        twice,
        three_times_by_parts,
        siamese,
        one_after_the_other,
        accumulated,
        one_step_of_the_outputs,
        one_layers_state,
        detached_in_between,
        changed_in_place,
        by_the_input_alone,
        by_one_weight_alone,
        some_inputs_of_backward,
        a_gradient_of_an_expanded_scalar,
        under_anomaly_detection,
        a_checkpoint,
        a_checkpoint_that_is_reentrant,
        a_checkpoint_of_more_than_the_gru,
        saved_elsewhere,
        hooks_on_all_tensors,
        hooks_after_accumulation,
        hooks_on_the_module,
    )
}


@covering(1, use=USES, cut=CUTS, bidirectional=[False, True])
def test_autograd_finds_what_it_finds_with_nn_gru(use: str, cut: str, bidirectional: bool) -> None:
    twins = make_twins(CUTS[cut], bidirectional=bidirectional)
    found = []
    for gru in twins:
        x = make_x().requires_grad_()
        found.append([USES[use](gru, x), x.grad, *gradients(gru)])

    assert_same(*found)


def backward_too_often(gru: nn.GRU) -> object:
    loss = gru(make_x())[0].sum()
    loss.backward()
    return loss.backward()


def weight_changed_before_backward(gru: nn.GRU) -> object:
    loss = weighted_sum(gru(make_x()))
    with torch.no_grad():
        gru.weight_hh_l0.mul_(2.0)
    return loss.backward()


@pytest.mark.parametrize("use", [backward_too_often, weight_changed_before_backward])
@pytest.mark.parametrize("cut", CUTS)
def test_autograd_refuses_what_it_refuses_with_nn_gru(
    cut: str, use: Callable[[nn.GRU], object]
) -> None:
    plain, ours = make_twins(CUTS[cut])
    wanted, expected = refusal(lambda: use(plain))

    found, actual = refusal(lambda: use(ours))

    assert (found, actual[:60]) == (wanted, expected[:60])


def second_derivative(gru: nn.GRU) -> object:
    x = make_x().requires_grad_()
    return torch.autograd.grad(gru(x)[0].sum(), [x], create_graph=True)


def forward_derivative(gru: nn.GRU) -> object:
    with forward_ad.dual_level():
        return gru(forward_ad.make_dual(make_x(), make_x(seed=3)))


def forward_derivative_of_a_weight(gru: nn.GRU) -> object:
    weight = gru.weight_hh_l1
    with forward_ad.dual_level():
        del gru.weight_hh_l1
        gru.weight_hh_l1 = forward_ad.make_dual(weight.detach(), torch.ones_like(weight))
        return gru(make_x())


def exported(gru: nn.GRU) -> object:
    with warnings.catch_warnings():
        # Torch warns of what it has found in every nn.GRU, instead of raising the error.
        warnings.simplefilter("ignore")
        return torch.export.export(gru, (make_x(),))


REFUSED: dict[str, tuple[Callable[[Any], object], str]] = {
    "create_graph": (second_derivative, "first derivatives only"),
    "forward": (forward_derivative, "differentiated forward"),
    "forward, of a weight": (forward_derivative_of_a_weight, "differentiated forward"),
    "jvp": (lambda gru: torch.func.jvp(gru, (make_x(),), (make_x(),)), "jvp"),
    "vmap": (lambda gru: torch.func.vmap(gru)(make_x(2, 5, 3, 3)), "vmap"),
    "grad": (lambda gru: torch.func.grad(lambda x: gru(x)[0].sum())(make_x()), "grad"),
    "export": (exported, "exported"),
}


# torch's own: its jvp scripts something.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("cut", ["in one piece", "two devices"])
def test_what_cannot_be_is_refused_and_points_to_nn_gru(cut: str, what: str) -> None:
    _, ours = make_twins(CUTS[cut])
    call, said = REFUSED[what]

    found, message = refusal(lambda: call(ours))

    assert issubclass(found, RuntimeError), message
    assert said in message
    assert "to_torch()" in message


def test_after_a_refused_second_derivative_the_first_is_right() -> None:
    plain, ours = make_twins(TWO_CPUS)
    x = make_x().requires_grad_()
    loss = weighted_sum(ours(x))

    with pytest.raises(RuntimeError, match="first derivatives only"):
        loss.backward(create_graph=True)
    (actual,) = torch.autograd.grad(loss, [x])

    (expected,) = torch.autograd.grad(weighted_sum(plain(x)), [x])
    assert_same(actual, expected)
