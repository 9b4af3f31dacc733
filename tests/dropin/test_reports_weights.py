"""What people do to the weights of recurrent nets, by their public reports: nn.GRU is the rule."""

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.dropin.twins import (
    BATCH,
    CUTS,
    FEATURES,
    HIDDEN,
    assert_same,
    cut_or_whole,
    gradients,
    make_twins,
    make_x,
    refusal,
    weighted_sum,
)
from tests.grids import covering

HH = "weight_hh_l0"
Change = Callable[[nn.GRU], object]


def train(gru: nn.GRU, n_steps: int = 2, **options: object) -> list[object]:
    """Train a few steps; return losses, gradients, parameters and buffers."""
    make_optimiser = options.pop("optimiser", torch.optim.SGD)
    assert callable(make_optimiser)
    wanted = [p for p in gru.parameters() if p.requires_grad]
    optimiser = make_optimiser(wanted, lr=0.05, **options)
    losses = []
    for step in range(n_steps):
        optimiser.zero_grad()
        losses.append(weighted_sum(gru(make_x(seed=step))))
        losses[-1].backward()
        optimiser.step()
    return [*losses, *gradients(gru), *gru.parameters(), *gru.buffers()]


def every_weight(gru: nn.GRU) -> list[str]:
    return [name for name, _ in gru.named_parameters() if name.startswith("weight")]


class Positive(nn.Module):
    """A parametrization of the kind that people write themselves, which notes how often."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("n_asked", torch.zeros((), dtype=torch.float64))

    def forward(self, weight: Tensor) -> Tensor:
        self.n_asked += 1
        return nn.functional.softplus(weight)


def weight_norm_of_all_weights(gru: nn.GRU) -> object:
    for name in every_weight(gru):
        parametrizations.weight_norm(gru, name)
    return train(gru)


def weight_norm_taken_away_again(gru: nn.GRU) -> object:
    parametrizations.weight_norm(gru, HH)
    before = train(gru)
    parametrize.remove_parametrizations(gru, HH)
    return [*before, *train(gru)]


def weight_norm_of_the_old_form(gru: nn.GRU) -> object:
    nn.utils.weight_norm(gru, HH)
    return train(gru)


def weight_norm_of_the_old_form_taken_away_again(gru: nn.GRU) -> object:
    nn.utils.weight_norm(gru, HH)
    before = train(gru)
    nn.utils.remove_weight_norm(gru, HH)
    return [*before, *train(gru)]


def spectral_norm(gru: nn.GRU) -> object:
    torch.manual_seed(4)
    parametrizations.spectral_norm(gru, HH)
    return train(gru, 4)


def spectral_norm_of_all_weights(gru: nn.GRU) -> object:
    torch.manual_seed(4)
    for name in every_weight(gru):
        parametrizations.spectral_norm(gru, name)
    return train(gru, 4)


def spectral_norm_of_the_old_form(gru: nn.GRU) -> object:
    torch.manual_seed(4)
    nn.utils.spectral_norm(gru, HH)
    return train(gru, 4)


def spectral_norm_in_evaluation(gru: nn.GRU) -> object:
    torch.manual_seed(4)
    parametrizations.spectral_norm(gru, HH)
    gru.eval()
    return [*gru(make_x()), *gru.buffers()]


def orthogonal_recurrent_weights(gru: nn.GRU) -> object:
    torch.manual_seed(4)
    parametrizations.orthogonal(gru, HH)
    return train(gru)


def a_parametrization_of_ones_own(gru: nn.GRU) -> object:
    parametrize.register_parametrization(gru, HH, Positive())
    return train(gru, 3)


def one_parametrization_of_every_layer(gru: nn.GRU) -> object:
    shared = Positive()
    for name in (HH, "weight_hh_l1", "bias_ih_l1"):
        parametrize.register_parametrization(gru, name, shared)
    return train(gru, 3)


def parametrizations_one_on_top_of_the_other(gru: nn.GRU) -> object:
    parametrizations.weight_norm(gru, HH)
    parametrize.register_parametrization(gru, HH, Positive())
    return train(gru)


def a_cached_parametrization(gru: nn.GRU) -> object:
    parametrize.register_parametrization(gru, HH, Positive())
    with parametrize.cached():
        loss = weighted_sum(gru(make_x())) + weighted_sum(gru(make_x(seed=3)))
    loss.backward()
    return [loss, *gradients(gru), *gru.buffers()]


def a_frozen_parametrization(gru: nn.GRU) -> object:
    parametrizations.weight_norm(gru, HH)
    gru.parametrizations[HH].original0.requires_grad_(False)
    return train(gru)


def a_deep_copy_of_a_parametrized_one(gru: nn.GRU) -> object:
    parametrizations.weight_norm(gru, HH)
    twin = copy.deepcopy(gru)
    train(gru)
    return train(twin)


def the_state_of_a_parametrized_one(gru: nn.GRU) -> object:
    parametrizations.weight_norm(gru, HH)
    train(gru)
    file = io.BytesIO()
    torch.save(gru.state_dict(), file)
    file.seek(0)
    with torch.no_grad():
        for parameter in gru.parameters():
            parameter.zero_()
    loaded = str(gru.load_state_dict(torch.load(file)))
    return [list(gru.state_dict()), loaded, *train(gru)]


def the_smallest_entries_pruned(gru: nn.GRU) -> object:
    prune.l1_unstructured(gru, HH, amount=0.5)
    return train(gru)


def rows_pruned(gru: nn.GRU) -> object:
    prune.ln_structured(gru, "weight_ih_l1", amount=0.5, n=2, dim=0)
    return train(gru)


def pruned_over_all_weights(gru: nn.GRU) -> object:
    weights = [(gru, name) for name in every_weight(gru)]
    prune.global_unstructured(weights, pruning_method=prune.L1Unstructured, amount=0.3)
    return train(gru)


def pruned_again_and_again(gru: nn.GRU) -> object:
    found: list[object] = []
    for amount in (0.2, 0.5):
        prune.l1_unstructured(gru, HH, amount=amount)
        found += train(gru)
    return found


def pruned_for_good(gru: nn.GRU) -> object:
    # pytorch/pytorch#33618: after `remove` training went on with the tensor of before.
    prune.l1_unstructured(gru, HH, amount=0.5)
    before = train(gru)
    prune.remove(gru, HH)
    return [*before, *train(gru)]


def weight_drop_in_a_pre_hook(gru: nn.GRU) -> object:
    raw = nn.Parameter(gru.weight_hh_l0.detach().clone())
    del gru._parameters[HH]
    gru.register_parameter(f"{HH}_raw", raw)

    def drop(module: nn.Module, _: object) -> None:
        setattr(module, HH, nn.functional.dropout(raw, 0.5, module.training))

    gru.register_forward_pre_hook(drop)
    torch.manual_seed(4)
    return [*train(gru, 3), *gru.eval()(make_x())]


def a_tensor_in_the_place_of_a_weight(gru: nn.GRU) -> object:
    # pytorch/pytorch#15749.
    tensor = gru.weight_hh_l0.detach() * 0.5
    del gru._parameters[HH]
    setattr(gru, HH, tensor)
    return train(gru)


def a_weight_that_is_taken_away(gru: nn.GRU) -> object:
    # nn.GRU goes on with the one that it had.
    del gru.weight_hh_l0
    return gru(make_x())


def weights_made_by_another_net(gru: nn.GRU) -> object:
    torch.manual_seed(4)
    maker = nn.Linear(2, gru.weight_hh_l0.numel(), dtype=torch.float64)
    del gru._parameters[HH]
    found = []
    for seed in (1, 2):
        made = maker(make_x(2, seed=seed)).view(3 * HIDDEN, HIDDEN)
        setattr(gru, HH, made)
        found.append(weighted_sum(gru(make_x())))
        found[-1].backward()
    return [*found, *gradients(maker), *gradients(gru)]


def one_weight_for_both_directions(gru: nn.GRU) -> object:
    gru.weight_hh_l0_reverse = gru.weight_hh_l0
    gru.bias_hh_l0_reverse = gru.bias_hh_l0
    return train(gru)


def a_weight_shared_with_a_cell(gru: nn.GRU) -> object:
    cell = nn.GRUCell(FEATURES, HIDDEN, dtype=torch.float64)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(cell, name, getattr(gru, f"{name}_l0"))
    loss = weighted_sum(gru(make_x())) + cell(make_x(BATCH, FEATURES)).square().sum()
    loss.backward()
    return [loss, *gradients(gru)]


def a_weight_shared_with_an_embedding(gru: nn.GRU) -> object:
    words = nn.Embedding(3 * HIDDEN, FEATURES, dtype=torch.float64)
    words.weight = gru.weight_ih_l0
    loss = weighted_sum(gru(words(torch.tensor([[1, 5], [0, 11]]))))
    loss.backward()
    return [loss, *gradients(gru)]


def one_bias_frozen_at_zero(gru: nn.GRU) -> object:
    for name, parameter in gru.named_parameters():
        if "bias_ih" in name:
            nn.init.zeros_(parameter).requires_grad_(False)
    return train(gru)


def layers_unfrozen_one_by_one(gru: nn.GRU) -> object:
    gru.requires_grad_(False)
    found: list[object] = []
    for layer in (1, 0):
        for name, parameter in gru.named_parameters():
            parameter.requires_grad_(name.endswith(f"_l{layer}") or parameter.requires_grad)
        found += train(gru)
    return found


def frozen_and_only_its_input_trained(gru: nn.GRU) -> object:
    gru.requires_grad_(False)
    x = nn.Parameter(make_x())
    optimiser = torch.optim.Adam([x], lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        weighted_sum(gru(x)).backward()
        optimiser.step()
    return [x, *gradients(gru)]


def drawn_by_kind(gru: nn.GRU) -> object:
    torch.manual_seed(4)
    for name, parameter in gru.named_parameters():
        if "weight_ih" in name:
            nn.init.xavier_uniform_(parameter.data)
        elif "weight_hh" in name:
            nn.init.orthogonal_(parameter.data)
        else:
            nn.init.zeros_(parameter.data)
    return train(gru)


def the_bias_of_one_gate_filled(gru: nn.GRU) -> object:
    for layer in gru.all_weights:
        layer[3].data[HIDDEN : 2 * HIDDEN].fill_(1.0)
    return train(gru)


def drawn_by_apply(gru: nn.GRU) -> object:
    def draw(module: nn.Module) -> None:
        if isinstance(module, nn.GRU):
            for parameter in module.parameters():
                nn.init.constant_(parameter, 0.1)

    nn.Sequential(gru).apply(draw)
    return train(gru)


def an_average_of_the_weights(gru: nn.GRU) -> object:
    average = AveragedModel(gru, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for _ in range(3):
        train(gru, 1)
        average.update_parameters(gru)
    return average(make_x())


def weights_swapped_for_an_average_and_back(gru: nn.GRU) -> object:
    kept = {name: p.detach().clone() for name, p in gru.named_parameters()}
    train(gru)
    trained = copy.deepcopy(gru.state_dict())
    gru.load_state_dict(kept)
    first = gru(make_x())
    gru.load_state_dict(trained)
    return [*first, *gru(make_x())]


def conversions_that_swap_the_tensors(gru: nn.GRU) -> object:
    gru(make_x())
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        gru.float().double()
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    return train(gru)


def conversions_that_replace_the_parameters(gru: nn.GRU) -> object:
    gru(make_x())
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        gru.float().double()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
    return train(gru)


def groups_of_parameters(gru: nn.GRU) -> object:
    named = dict(gru.named_parameters())
    weights = [p for name, p in named.items() if "weight" in name]
    biases = [p for name, p in named.items() if "bias" in name]
    optimiser = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.1}, {"params": biases, "lr": 0.0}], lr=0.01
    )
    for _ in range(2):
        optimiser.zero_grad()
        weighted_sum(gru(make_x())).backward()
        optimiser.step()
    return list(gru.parameters())


def an_optimiser_in_backward(gru: nn.GRU) -> object:
    optimisers = {p: torch.optim.Adam([p], lr=0.01) for p in gru.parameters()}

    def step(parameter: Tensor) -> None:
        optimisers[parameter].step()
        optimisers[parameter].zero_grad()

    for parameter in gru.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    for _ in range(3):
        weighted_sum(gru(make_x())).backward()
    return [*gru.parameters(), *gradients(gru)]


def gradients_clamped_by_hooks(gru: nn.GRU) -> object:
    for parameter in gru.parameters():
        parameter.register_hook(lambda gradient: gradient.clamp(-0.1, 0.1))
    return train(gru)


def gradients_clipped_by_value(gru: nn.GRU) -> object:
    weighted_sum(gru(make_x())).backward()
    nn.utils.clip_grad_value_(gru.parameters(), 0.05)
    return gradients(gru)


def gradients_given_beforehand(gru: nn.GRU) -> object:
    for parameter in gru.parameters():
        parameter.grad = torch.ones_like(parameter)
    weighted_sum(gru(make_x())).backward()
    return gradients(gru)


def noise_in_the_gradients(gru: nn.GRU) -> object:
    weighted_sum(gru(make_x())).backward()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in gru.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter -= 0.1 * (parameter.grad + noise)
    return train(gru)


CHANGES: tuple[Change, ...] = (
    weight_norm_of_all_weights,
    weight_norm_taken_away_again,
    weight_norm_of_the_old_form,
    weight_norm_of_the_old_form_taken_away_again,
    spectral_norm,
    spectral_norm_of_all_weights,
    spectral_norm_of_the_old_form,
    spectral_norm_in_evaluation,
    orthogonal_recurrent_weights,
    a_parametrization_of_ones_own,
    one_parametrization_of_every_layer,
    parametrizations_one_on_top_of_the_other,
    a_cached_parametrization,
    a_frozen_parametrization,
    a_deep_copy_of_a_parametrized_one,
    the_state_of_a_parametrized_one,
    the_smallest_entries_pruned,
    rows_pruned,
    pruned_over_all_weights,
    pruned_again_and_again,
    pruned_for_good,
    weight_drop_in_a_pre_hook,
    a_tensor_in_the_place_of_a_weight,
    a_weight_that_is_taken_away,
    weights_made_by_another_net,
    one_weight_for_both_directions,
    a_weight_shared_with_a_cell,
    a_weight_shared_with_an_embedding,
    one_bias_frozen_at_zero,
    layers_unfrozen_one_by_one,
    frozen_and_only_its_input_trained,
    drawn_by_kind,
    the_bias_of_one_gate_filled,
    drawn_by_apply,
    an_average_of_the_weights,
    weights_swapped_for_an_average_and_back,
    conversions_that_swap_the_tensors,
    conversions_that_replace_the_parameters,
    groups_of_parameters,
    an_optimiser_in_backward,
    gradients_clamped_by_hooks,
    gradients_clipped_by_value,
    gradients_given_beforehand,
    noise_in_the_gradients,
)


# torch's own: the old forms are on their way out.
@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
@cut_or_whole("change", CHANGES)
def test_what_is_done_to_weights_has_the_effect_that_it_has_on_nn_gru(
    cut: str, change: Change
) -> None:
    is_both_ways = change is one_weight_for_both_directions
    plain, ours = make_twins(CUTS[cut], bidirectional=is_both_ways)

    expected, actual = change(plain), change(ours)

    assert_same(actual, expected, tolerance=1e-10)


OPTIMISERS: dict[str, dict[str, object]] = {
    "fused Adam": {"optimiser": torch.optim.Adam, "fused": True},
    "fused SGD with momentum": {"optimiser": torch.optim.SGD, "fused": True, "momentum": 0.9},
    "AMSGrad": {"optimiser": torch.optim.AdamW, "amsgrad": True},
    "RMSprop": {"optimiser": torch.optim.RMSprop, "centered": True},
    "Adagrad": {"optimiser": torch.optim.Adagrad},
    "Adadelta": {"optimiser": torch.optim.Adadelta},
    "Adamax": {"optimiser": torch.optim.Adamax},
    "NAdam": {"optimiser": torch.optim.NAdam},
    "RAdam": {"optimiser": torch.optim.RAdam},
    "Rprop": {"optimiser": torch.optim.Rprop},
    "ASGD": {"optimiser": torch.optim.ASGD},
    "capturable off, differentiable off, foreach off": {
        "optimiser": torch.optim.Adam,
        "foreach": False,
    },
}


@covering(1, name=OPTIMISERS, cut=["two devices, zero bubble", "in one piece"])
def test_every_optimiser_takes_the_steps_that_it_takes_with_nn_gru(cut: str, name: str) -> None:
    found = [train(gru, 3, **dict(OPTIMISERS[name])) for gru in make_twins(CUTS[cut])]

    # What some divide by may be as small as rounding errors are.
    assert_same(found[1], found[0], tolerance=1e-8)


def a_deep_copy_with_a_state_kept_in_it(gru: nn.GRU) -> object:
    gru.hidden = gru(make_x())[1]
    return copy.deepcopy(gru)


def weights_left_undrawn(gru: nn.GRU) -> object:
    return nn.utils.skip_init(type(gru), 3, 4)


def a_parameter_where_a_tensor_belongs(gru: nn.GRU) -> object:
    gru.weight_hh_l0 = torch.zeros(12, 4)
    return gru(make_x())


def a_weight_of_another_shape(gru: nn.GRU) -> object:
    gru.weight_hh_l0 = nn.Parameter(torch.zeros(12, 3, dtype=torch.float64))
    return gru(make_x())


def a_weight_of_another_type(gru: nn.GRU) -> object:
    gru.weight_hh_l1 = nn.Parameter(torch.zeros(12, 4))
    return gru(make_x())


def weights_that_need_no_gradient(gru: nn.GRU) -> object:
    return gru.requires_grad_(False)(make_x())[0].sum().backward()


REFUSED: tuple[Change, ...] = (
    a_deep_copy_with_a_state_kept_in_it,
    weights_left_undrawn,
    a_parameter_where_a_tensor_belongs,
    a_weight_of_another_shape,
    a_weight_of_another_type,
    weights_that_need_no_gradient,
)


@pytest.mark.eager
@cut_or_whole("change", REFUSED)
def test_what_nn_gru_refuses_to_have_done_to_its_weights_is_refused(
    cut: str, change: Change
) -> None:
    plain, ours = make_twins(CUTS[cut])
    wanted, expected = refusal(lambda: change(plain))

    found, actual = refusal(lambda: change(ours))

    # The sizes in the rest are those of a cell.
    assert (found, actual[:40]) == (wanted, expected[:40])
