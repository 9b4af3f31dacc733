"""How people call recurrent nets and what they do with the outputs, by their public reports."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    unpack_sequence,
)
from torch.utils.checkpoint import checkpoint_sequential

from tests.dropin.twins import (
    BATCH,
    CUTS,
    FEATURES,
    HIDDEN,
    N_STEPS,
    assert_same,
    cut_or_whole,
    gradients,
    make_twins,
    make_x,
    weighted_sum,
)

LENGTHS = torch.tensor([2, 5, 3])
Use = Callable[[nn.GRU, Tensor], object]


def every_second_step(gru: nn.GRU, x: Tensor) -> object:
    return gru(x[::2])


def rows_in_reverse(gru: nn.GRU, x: Tensor) -> object:
    return gru(x.flip(1))


def channels_of_a_convolution(gru: nn.GRU, x: Tensor) -> object:
    convolution = nn.Conv1d(FEATURES, FEATURES, 1, dtype=torch.float64)
    nn.init.constant_(convolution.weight, 0.3)
    nn.init.zeros_(convolution.bias)
    y, h_n = gru(convolution(x.permute(1, 2, 0)).permute(2, 0, 1))
    return [y, h_n]


def features_out_of_more(gru: nn.GRU, x: Tensor) -> object:
    return gru(torch.cat([x, x * 2], dim=-1)[..., ::2])


def one_row_for_all(gru: nn.GRU, x: Tensor) -> object:
    return gru(x[:, :1].expand(-1, 4, -1))


def one_step_for_all(gru: nn.GRU, x: Tensor) -> object:
    return gru(x[:1].expand(7, -1, -1))


def a_single_step(gru: nn.GRU, x: Tensor) -> object:
    return gru(x[:1])


def a_single_row(gru: nn.GRU, x: Tensor) -> object:
    return gru(x[:, :1])


def one_sequence_without_a_batch(gru: nn.GRU, x: Tensor) -> object:
    return gru(x[:, 0], make_x(2, HIDDEN))


def an_input_that_is_a_parameter(gru: nn.GRU, x: Tensor) -> object:
    return gru(nn.Parameter(x.detach()))


def not_a_number_in_one_row(gru: nn.GRU, x: Tensor) -> object:
    mask = torch.zeros(N_STEPS, BATCH, 1, dtype=torch.bool)
    mask[2, 1] = True
    y, h_n = gru(x.masked_fill(mask, float("nan")))
    return [torch.nan_to_num(y, 9.0), torch.nan_to_num(h_n, 9.0)]


def infinity_in_one_row(gru: nn.GRU, x: Tensor) -> object:
    mask = torch.zeros(N_STEPS, BATCH, 1, dtype=torch.bool)
    mask[2, 1] = True
    y, h_n = gru(x.masked_fill(mask, float("inf")))
    return [torch.nan_to_num(y, 9.0), torch.nan_to_num(h_n, 9.0)]


def very_large_inputs(gru: nn.GRU, x: Tensor) -> object:
    return gru(x * 1e30)


def a_learned_state(gru: nn.GRU, x: Tensor) -> object:
    start = nn.Parameter(make_x(2, 1, HIDDEN))
    y, h_n = gru(x, start.expand(-1, BATCH, -1))
    (gradient,) = torch.autograd.grad(weighted_sum([y, h_n]), [start], retain_graph=True)
    return [y, h_n, gradient]


def a_state_from_an_encoder(gru: nn.GRU, x: Tensor) -> object:
    encoder = nn.Linear(FEATURES, 2 * HIDDEN, dtype=torch.float64)
    nn.init.constant_(encoder.weight, 0.1)
    nn.init.zeros_(encoder.bias)
    h_0 = encoder(x[0]).view(BATCH, 2, HIDDEN).transpose(0, 1)
    y, h_n = gru(x, h_0)
    found = torch.autograd.grad(
        weighted_sum([y, h_n]), list(encoder.parameters()), retain_graph=True
    )
    return [y, h_n, *found]


def a_state_laid_out_batch_first(gru: nn.GRU, x: Tensor) -> object:
    return gru(x, make_x(BATCH, 2, HIDDEN).permute(1, 0, 2))


def rows_of_a_larger_state(gru: nn.GRU, x: Tensor) -> object:
    return gru(x, make_x(2, 9, HIDDEN)[:, ::3])


def states_with_rows_set_back(gru: nn.GRU, x: Tensor) -> object:
    outputs = []
    h = None
    keep = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64).view(1, BATCH, 1)
    for window in x.split(2):
        y, h = gru(window, None if h is None else h * keep)
        outputs.append(y)
    return [torch.cat(outputs), h]


def a_beam_that_is_reordered(gru: nn.GRU, x: Tensor) -> object:
    _, h = gru(x)
    y, h = gru(x[:1, [2, 0, 0]], h.index_select(1, torch.tensor([2, 0, 0])))
    return [y, h]


def its_own_output_fed_back(gru: nn.GRU, x: Tensor) -> object:
    step, h, outputs = x[:1], None, []
    for _ in range(4):
        y, h = gru(step, h)
        step = y[..., :FEATURES]
        outputs.append(y)
    return [torch.cat(outputs), h]


def the_last_step(gru: nn.GRU, x: Tensor) -> object:
    return [gru(x)[0][-1]]


def the_last_layers_state(gru: nn.GRU, x: Tensor) -> object:
    return [gru(x)[1][-1]]


def the_step_at_each_rows_end(gru: nn.GRU, x: Tensor) -> object:
    y, _ = gru(x)
    return [y[LENGTHS - 1, torch.arange(BATCH)]]


def a_mean_over_the_steps_that_count(gru: nn.GRU, x: Tensor) -> object:
    y, _ = gru(x)
    runs = (torch.arange(N_STEPS).unsqueeze(1) < LENGTHS).unsqueeze(2)
    return [(y * runs).sum(0) / LENGTHS.unsqueeze(1)]


def the_largest_over_time(gru: nn.GRU, x: Tensor) -> object:
    return [gru(x)[0].max(dim=0).values]


def attention_over_the_outputs(gru: nn.GRU, x: Tensor) -> object:
    y, h_n = gru(x)
    scores = torch.einsum("tbh,bh->tb", y, h_n[-1]).softmax(0)
    return [torch.einsum("tb,tbh->bh", scores, y)]


def outputs_through_a_norm_and_a_skip(gru: nn.GRU, x: Tensor) -> object:
    y, _ = gru(x)
    return [nn.functional.layer_norm(y, [HIDDEN])[..., :FEATURES] + x]


def states_by_layer(gru: nn.GRU, x: Tensor) -> object:
    _, h_n = gru(x)
    first, second = h_n.unbind()
    return [first * 2, second.square()]


def outputs_that_keep_their_gradient(gru: nn.GRU, x: Tensor) -> object:
    y, h_n = gru(x)
    y.retain_grad()
    h_n.retain_grad()
    weighted_sum([y, h_n]).backward(retain_graph=True)
    return [y, h_n, y.grad, h_n.grad]


def gradients_given_to_backward(gru: nn.GRU, x: Tensor) -> object:
    y, h_n = gru(x)
    torch.autograd.backward([y, h_n], [torch.ones_like(y), h_n.detach()])
    return None


def a_gradient_for_the_outputs_alone(gru: nn.GRU, x: Tensor) -> object:
    y, _ = gru(x)
    y.backward(gradient=make_x(*y.shape))
    return None


def a_gradient_of_zeros(gru: nn.GRU, x: Tensor) -> object:
    y, _ = gru(x)
    (y * 0).sum().backward()
    return None


def gradients_that_need_not_be_used(gru: nn.GRU, x: Tensor) -> object:
    other = nn.Parameter(make_x(2))
    return list(
        torch.autograd.grad(weighted_sum(gru(x)), [x, other, gru.bias_ih_l1], allow_unused=True)
    )


def a_jacobian(gru: nn.GRU, x: Tensor) -> object:
    return [torch.autograd.functional.jacobian(lambda x: gru(x)[1][-1, 0], x.detach())]


def a_penalty_on_the_gradient_without_its_graph(gru: nn.GRU, x: Tensor) -> object:
    (dx,) = torch.autograd.grad(gru(x)[0].sum(), [x])
    step = (x + 0.1 * dx.sign()).detach().requires_grad_()
    return gru(step)


def two_losses_one_after_the_other(gru: nn.GRU, x: Tensor) -> object:
    y, h_n = gru(x)
    y.square().mean().backward(retain_graph=True)
    h_n.abs().mean().backward()
    return None


def gradients_through_part_of_the_windows(gru: nn.GRU, x: Tensor) -> object:
    h = None
    for window in x.split(2):
        y, h = gru(window, h)
        weighted_sum([y]).backward()
        h = h.detach()
    return [h]


def without_gradients_for_the_first_part(gru: nn.GRU, x: Tensor) -> object:
    with torch.no_grad():
        _, h = gru(x[:3])
    return gru(x[3:], h)


def with_gradients_inside_no_grad(gru: nn.GRU, x: Tensor) -> object:
    with torch.no_grad(), torch.enable_grad():
        return gru(x)


def gradients_switched_off(gru: nn.GRU, x: Tensor) -> object:
    with torch.set_grad_enabled(False):
        out = gru(x)
    return [*out, [tensor.requires_grad for tensor in out]]


def hooks_on_the_nodes_of_autograd(gru: nn.GRU, x: Tensor) -> object:
    seen: list[Tensor] = []
    given = x * 1.0
    assert given.grad_fn is not None
    given.grad_fn.register_prehook(lambda gradients: seen.extend(gradients))
    weighted_sum(gru(given)).backward()
    return seen


def hooks_that_change_what_goes_in_and_out(gru: nn.GRU, x: Tensor) -> object:
    gru.register_forward_pre_hook(lambda _, args: (args[0] * 2, *args[1:]))
    gru.register_forward_hook(lambda _, __, out: (out[0].relu(), out[1]))
    return gru(x)


def hooks_that_see_names(gru: nn.GRU, x: Tensor) -> object:
    def double(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        return args, {**kwargs, "hx": make_x(2, BATCH, HIDDEN)}

    gru.register_forward_pre_hook(double, with_kwargs=True)
    return gru(x, hx=None)


def hooks_that_change_the_gradient(gru: nn.GRU, x: Tensor) -> object:
    gru.register_full_backward_hook(lambda _, given, __: tuple(g * 3 for g in given))
    gru.register_full_backward_pre_hook(lambda _, given: tuple(g / 2 for g in given))
    return gru(x)


def hooks_on_all_modules_there_are(gru: nn.GRU, x: Tensor) -> object:
    seen: list[object] = []

    def note(module: nn.Module, *_: object) -> None:
        seen.append(isinstance(module, nn.GRU))

    handle = nn.modules.module.register_module_forward_hook(note)
    try:
        out = nn.Sequential(gru)(x)
    finally:
        handle.remove()
    return [*out, seen]


def a_checkpoint_of_a_row_of_modules(gru: nn.GRU, x: Tensor) -> object:
    class First(nn.Module):
        def forward(self, out: tuple[Tensor, Tensor]) -> Tensor:
            return out[0]

    row = nn.Sequential(nn.Tanh(), gru, First(), nn.Tanh())
    return [checkpoint_sequential(row, 2, x, use_reentrant=False)]


def deterministic_algorithms(gru: nn.GRU, x: Tensor) -> object:
    torch.use_deterministic_algorithms(True)
    try:
        y, h_n = gru(x)
        weighted_sum([y, h_n]).backward(retain_graph=True)
    finally:
        torch.use_deterministic_algorithms(False)
    return [y, h_n]


def new_tensors_on_another_device(gru: nn.GRU, x: Tensor) -> object:
    with torch.device("meta"):
        packed = gru(pack_padded_sequence(x, LENGTHS.cpu(), enforce_sorted=False))
        return [*gru(x), packed[0].data, packed[1]]


def new_tensors_of_another_type(gru: nn.GRU, x: Tensor) -> object:
    torch.set_default_dtype(torch.float32 if x.dtype == torch.float64 else torch.float64)
    try:
        return gru(x)
    finally:
        torch.set_default_dtype(torch.float32)


def batch_first_switched_on(gru: nn.GRU, x: Tensor) -> object:
    gru.batch_first = True
    return gru(x)


def packed_and_padded_to_a_length(gru: nn.GRU, x: Tensor) -> object:
    packed = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    output, h_n = gru(packed)
    y, lengths = pad_packed_sequence(output, total_length=8, padding_value=-1.0)
    return [y, lengths, h_n]


def packed_and_taken_apart(gru: nn.GRU, x: Tensor) -> object:
    output, _ = gru(pack_sequence([x[:3, 0], x[:, 1], x[:1, 2]], enforce_sorted=False))
    return unpack_sequence(output)


def packed_with_a_state(gru: nn.GRU, x: Tensor) -> object:
    h_0 = make_x(2, BATCH, HIDDEN).requires_grad_()
    output, h_n = gru(pack_padded_sequence(x, LENGTHS, enforce_sorted=False), h_0)
    (dh_0,) = torch.autograd.grad(weighted_sum([output.data, h_n]), [h_0], retain_graph=True)
    return [output.data, h_n, dh_0]


def packed_with_not_a_number_behind_the_end(gru: nn.GRU, x: Tensor) -> object:
    behind = (torch.arange(N_STEPS).unsqueeze(1) >= LENGTHS).unsqueeze(2)
    padded = x.masked_fill(behind, float("nan"))
    output, h_n = gru(pack_padded_sequence(padded, LENGTHS, enforce_sorted=False))
    return [output.data, h_n]


def packed_and_turned_round(gru: nn.GRU, x: Tensor) -> object:
    rows = [x[:length, row].flip(0) for row, length in enumerate(LENGTHS.tolist())]
    output, h_n = gru(pack_sequence(rows, enforce_sorted=False))
    return [output.data, h_n]


def packed_rows_of_one_step(gru: nn.GRU, x: Tensor) -> object:
    output, h_n = gru(pack_padded_sequence(x, torch.ones(BATCH, dtype=torch.long)))
    return [output.data, h_n]


def packed_by_hand(gru: nn.GRU, x: Tensor) -> object:
    output, h_n = gru(PackedSequence(x[:, 0], torch.tensor([3, 2])))
    return [output.data, h_n]


def packed_outputs_packed_in_again(gru: nn.GRU, x: Tensor) -> object:
    output, h_n = gru(pack_padded_sequence(x, LENGTHS, enforce_sorted=False))
    output, h_n = gru(output._replace(data=output.data[:, :FEATURES]), h_n)
    return [output.data, h_n]


USES: tuple[Use, ...] = (
    every_second_step,
    rows_in_reverse,
    channels_of_a_convolution,
    features_out_of_more,
    one_row_for_all,
    one_step_for_all,
    a_single_step,
    a_single_row,
    one_sequence_without_a_batch,
    an_input_that_is_a_parameter,
    not_a_number_in_one_row,
    infinity_in_one_row,
    very_large_inputs,
    a_learned_state,
    a_state_from_an_encoder,
    a_state_laid_out_batch_first,
    rows_of_a_larger_state,
    states_with_rows_set_back,
    a_beam_that_is_reordered,
    its_own_output_fed_back,
    the_last_step,
    the_last_layers_state,
    the_step_at_each_rows_end,
    a_mean_over_the_steps_that_count,
    the_largest_over_time,
    attention_over_the_outputs,
    outputs_through_a_norm_and_a_skip,
    states_by_layer,
    outputs_that_keep_their_gradient,
    gradients_given_to_backward,
    a_gradient_for_the_outputs_alone,
    a_gradient_of_zeros,
    gradients_that_need_not_be_used,
    a_jacobian,
    a_penalty_on_the_gradient_without_its_graph,
    two_losses_one_after_the_other,
    gradients_through_part_of_the_windows,
    without_gradients_for_the_first_part,
    with_gradients_inside_no_grad,
    gradients_switched_off,
    hooks_on_the_nodes_of_autograd,
    hooks_that_change_what_goes_in_and_out,
    hooks_that_see_names,
    hooks_that_change_the_gradient,
    hooks_on_all_modules_there_are,
    a_checkpoint_of_a_row_of_modules,
    deterministic_algorithms,
    new_tensors_on_another_device,
    new_tensors_of_another_type,
    batch_first_switched_on,
    packed_and_padded_to_a_length,
    packed_and_taken_apart,
    packed_with_a_state,
    packed_with_not_a_number_behind_the_end,
    packed_and_turned_round,
    packed_rows_of_one_step,
    packed_by_hand,
    packed_outputs_packed_in_again,
)


def all_that_comes_of(gru: nn.GRU, use: Use) -> list[object]:
    """Return what a use gives out, and every gradient, its own or of all that it gives out."""
    x = make_x().requires_grad_()
    out = use(gru, x)
    flat = [t for t in out if isinstance(t, Tensor)] if isinstance(out, list | tuple) else []
    roots = [tensor for tensor in flat if tensor.requires_grad]
    if roots:
        weighted_sum(roots).backward()
    gradient = None if x.grad is None else torch.nan_to_num(x.grad, 9.0)
    others = [None if g is None else torch.nan_to_num(g, 9.0) for g in gradients(gru)]
    return [out, gradient, *others]


@cut_or_whole("use", USES, "in the caller's thread")
def test_a_way_to_call_it_gives_what_it_gives_with_nn_gru(cut: str, use: Use) -> None:
    plain, ours = make_twins(CUTS[cut])

    expected, actual = all_that_comes_of(plain, use), all_that_comes_of(ours, use)

    assert_same(actual, expected)
