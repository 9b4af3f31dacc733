"""A step as a piece of a larger graph, and of a program that changes its model between steps."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import ShapeError, UsageError
from gru_parallel.model import GRUStack, StackModel, StepHead, SumLoss, WindowHead
from tests.builders import (
    HIDDEN,
    HORIZON,
    MSE,
    N_CHANNELS,
    N_TARGETS,
    WIDTH,
    assert_gradients_close,
    build_model,
    gradients_of,
    make_batch,
    make_plan,
    relative_error,
)

pytestmark = pytest.mark.usefixtures("no_thread_left")

CUTS = {
    "uncut": ([4], "gpipe", 1, 1),
    "one stage": ([4], "one_f_one_b", 2, 3),
    "two stages": ([2, 2], "one_f_one_b", 2, 4),
}
CUT = make_plan(*CUTS["two stages"])
RAGGED = torch.tensor([3, 7, 1, 6, 2])


def plain_loss(model: StackModel, x: Tensor, y: Tensor) -> Tensor:
    return nn.functional.mse_loss(model(x), y)


def assert_equal_gradients(found: Any, expected: Any) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert relative_error(one, other) <= 1e-11


# --- a larger graph ---


@pytest.mark.parametrize("encoder", [None, nn.Identity()], ids=["linear", "no encoder"])
@pytest.mark.parametrize("cut", CUTS)
def test_what_comes_before_the_windows_is_trained(cut: str, encoder: nn.Module | None) -> None:
    def build() -> tuple[nn.Module, StackModel]:
        model = build_model()
        model.encoder = encoder or model.encoder
        width = N_CHANNELS if encoder is None else WIDTH
        return nn.Linear(N_CHANNELS, width).double(), model

    x, y = make_batch()
    torch.manual_seed(0)
    before, plain = build()
    plain_loss(plain, before(x).tanh(), y).backward()
    torch.manual_seed(0)
    same, model = build()
    with ThreadEngine(model, make_plan(*CUTS[cut]), MSE) as engine:
        engine.train_step(same(x).tanh(), y).backward()

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)
    assert_gradients_close(gradients_of(same), gradients_of(before), 1e-11)


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["whole", "ragged"])
@pytest.mark.parametrize("cut", CUTS)
def test_windows_targets_and_states_get_their_gradients(
    cut: str, lengths: Tensor | None, every_step: bool
) -> None:
    from gru_parallel.engine.engine import WholeEngine

    def run(engine: Any) -> list[Tensor | None]:
        inputs = [*make_batch(every_step=every_step), torch.randn(4, 5, HIDDEN).double()]
        x, y, h_0 = (tensor.requires_grad_() for tensor in inputs)
        engine.train_step(x, y, h_0=h_0, lengths=lengths).backward()
        return [x.grad, y.grad, h_0.grad]

    torch.manual_seed(0)
    expected = run(WholeEngine(build_model(every_step=every_step), MSE))
    torch.manual_seed(0)
    with ThreadEngine(build_model(every_step=every_step), make_plan(*CUTS[cut]), MSE) as engine:
        assert_equal_gradients(run(engine), expected)


def test_gradients_of_windows_alone_come_through_frozen_weights() -> None:
    x, y = make_batch()
    model = build_model().requires_grad_(False)
    expected = x.clone().requires_grad_()
    plain_loss(model, expected, y).backward()

    with ThreadEngine(model, CUT, MSE) as engine:
        engine.train_step(x.requires_grad_(), y).backward()

    assert_equal_gradients([x.grad], [expected.grad])


def test_two_steps_in_one_graph_add_up() -> None:
    batches = [make_batch(seed=seed) for seed in (1, 2)]
    plain, model = build_model(), build_model()
    sum(plain_loss(plain, *batch) * 3 for batch in batches).backward()  # type: ignore[union-attr]
    with ThreadEngine(model, CUT, MSE) as engine:
        sum(engine.train_step(*batch) * 3 for batch in batches).backward()  # type: ignore[union-attr]

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)


# --- backward, as often as autograd allows it ---


def test_a_second_backward_raises_as_autograd_does_and_adds_nothing() -> None:
    model = build_model()
    with ThreadEngine(model, CUT, MSE) as engine:
        loss = engine.train_step(*make_batch())
        loss.backward()
        once = gradients_of(model)
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            loss.backward()

    assert_gradients_close(gradients_of(model), once, 0.0)


def test_a_retained_graph_gives_its_gradients_again() -> None:
    model = build_model()
    with ThreadEngine(model, CUT, MSE) as engine:
        loss = engine.train_step(*make_batch())
        loss.backward(retain_graph=True)
        once = gradients_of(model)
        loss.backward()
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()

    twice = {name: None if g is None else 2 * g for name, g in once.items()}
    assert_gradients_close(gradients_of(model), twice, 0.0)


def test_gradients_can_be_asked_for_one_by_one() -> None:
    model, plain = build_model(), build_model()
    name = "gru.blocks.2.parts.0.weight_hh_l0"
    with ThreadEngine(model, CUT, MSE) as engine:
        loss = engine.train_step(*make_batch())
        (found,) = torch.autograd.grad(loss, [model.get_parameter(name)])

    expected = torch.autograd.grad(plain_loss(plain, *make_batch()), [plain.get_parameter(name)])
    assert_equal_gradients([found], expected)
    assert set(gradients_of(model).values()) == {None}


@pytest.mark.parametrize("which", ["gru.blocks.0.parts.0.weight_hh_l0", "encoder.weight", "x"])
def test_what_is_changed_in_place_before_backward_is_noticed(which: str) -> None:
    model = build_model()
    x, y = make_batch()
    with ThreadEngine(model, CUT, MSE) as engine:
        loss = engine.train_step(x, y)
        with torch.no_grad():
            (x if which == "x" else model.get_parameter(which)).add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_a_loss_that_is_not_used_leaves_nothing_behind() -> None:
    model = build_model()
    calls: list[Tensor] = []
    for weight in model.parameters():
        weight.register_hook(calls.append)
    with ThreadEngine(model, CUT, MSE) as engine:
        gc.disable()
        try:
            loss = engine.train_step(*make_batch())
            assert loss.grad_fn is not None
            kept = [weakref.ref(saved) for saved in loss.grad_fn.saved_tensors]  # type: ignore[attr-defined]
            node = weakref.ref(loss.grad_fn)
            del loss
            assert node() is None
            weights = {id(weight) for weight in model.parameters()}
            assert [ref for ref in kept if ref() is not None and id(ref()) not in weights] == []
        finally:
            gc.enable()

        assert set(gradients_of(model).values()) == {None}
        assert calls == []


# --- a model that changes ---


def replace_head(model: StackModel) -> None:
    model.head = WindowHead(HIDDEN, (HORIZON, N_TARGETS)).double()


def replace_linear_of_head(model: StackModel) -> None:
    model.head.linear = nn.Linear(HIDDEN, HORIZON * N_TARGETS).double()


def replace_encoder(model: StackModel) -> None:
    model.encoder = nn.Sequential(nn.Linear(N_CHANNELS, WIDTH), nn.Tanh()).double()


def replace_block(model: StackModel) -> None:
    model.gru.blocks[2] = build_model(seed=9).gru.blocks[2]


def replace_weight(model: StackModel) -> None:
    part = model.gru.gru_blocks[1].gru_parts[0]
    part.weight_hh_l0 = nn.Parameter(torch.randn_like(part.weight_hh_l0))


def replace_stack(model: StackModel) -> None:
    model.gru = build_model(seed=9).gru


def turn_round(model: StackModel) -> None:
    model.gru.blocks[3] = build_model(h_0=["zeros"] * 3 + ["previous"]).gru.blocks[3]


def thaw(model: StackModel) -> None:
    model.gru.blocks[0].requires_grad_(True)


def free_layer_norm(model: StackModel) -> None:
    model.head.linear = nn.Sequential(nn.LayerNorm(HIDDEN), model.head.linear).double()


CHANGES: dict[str, Callable[[StackModel], None]] = {
    change.__name__: change
    for change in (
        replace_head,
        replace_linear_of_head,
        replace_encoder,
        replace_block,
        replace_weight,
        replace_stack,
        turn_round,
        thaw,
        free_layer_norm,
    )
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_between_steps_is_what_trains(change: str, cut: str) -> None:
    def steps(model: StackModel, loss_of: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
        torch.manual_seed(3)
        model.gru.blocks[0].requires_grad_(False)
        losses = [loss_of(*make_batch())]
        losses[0].backward()
        CHANGES[change](model)
        model.zero_grad()
        losses.append(loss_of(*make_batch(seed=4)))
        losses[1].backward()
        return losses

    plain, model = build_model(), build_model()
    expected = steps(plain, lambda x, y: plain_loss(plain, x, y))
    with ThreadEngine(model, make_plan(*CUTS[cut]), MSE) as engine:
        found = steps(model, engine.train_step)

    assert_equal_gradients(found, expected)
    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)


def test_another_number_of_blocks_is_refused_at_the_next_step() -> None:
    model = build_model()
    with ThreadEngine(model, CUT, MSE) as engine:
        engine.train_step(*make_batch())
        model.gru = build_model(5).gru
        with pytest.raises(UsageError, match="plan places 4 blocks, the model has 5"):
            engine.train_step(*make_batch())


def test_a_forward_that_was_replaced_is_refused() -> None:
    model = build_model()
    part = model.gru.gru_blocks[1].gru_parts[0]
    part.__dict__["forward"] = part.forward
    with (
        ThreadEngine(model, CUT, MSE) as engine,
        pytest.raises(UsageError, match="forward of a GRU was replaced"),
    ):
        engine.train_step(*make_batch())


# --- what looks beyond one step ---


class OverTime(nn.Module):
    """Moves every channel along time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(N_CHANNELS, WIDTH, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.permute(1, 2, 0)).permute(2, 0, 1)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(N_CHANNELS, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[0]


class Normed(nn.Module):
    """Has statistics over the batch."""

    def __init__(self) -> None:
        super().__init__()
        # A bias would be taken out again.
        self.linear = nn.Linear(N_CHANNELS, WIDTH, bias=False)
        self.norm = nn.BatchNorm1d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return self.norm(y.flatten(0, 1)).view_as(y)


class Centred(nn.Module):
    """Has no module in it that could tell."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, N_CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x - x.mean(1, keepdim=True), self.weight)


class Hooked(nn.Linear):
    """Its hooks want to be called once."""

    def __init__(self) -> None:
        super().__init__(N_CHANNELS, WIDTH)
        self.n_calls = 0
        self.register_forward_hook(lambda *_: setattr(self, "n_calls", self.n_calls + 1))
        self.register_full_backward_hook(lambda *_: setattr(self, "n_calls", self.n_calls + 1))


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(N_CHANNELS, WIDTH), nn.Dropout(0.4))


BEYOND: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "convolution": (OverTime, "OverTime may look beyond"),
    "GRU": (Recurrent, "Recurrent may look beyond"),
    "batch norm": (Normed, "Normed may look beyond"),
    "a mean over rows": (Centred, "Centred may look beyond"),
    "dropout": (dropping, "Dropout may look beyond"),
    "hooks": (Hooked, "called once a step"),
}


# Nothing before the encoder wants a gradient, which its hook is told.
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["whole", "ragged"])
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("beyond", BEYOND)
def test_an_encoder_that_looks_beyond_a_step_runs_uncut(
    beyond: str, cut: str, lengths: Tensor | None
) -> None:
    make_encoder, message = BEYOND[beyond]

    def build() -> StackModel:
        model = build_model()
        torch.manual_seed(8)
        model.encoder = make_encoder().double()
        return model

    plain, model = build(), build()
    x, y = make_batch()
    nn.functional.mse_loss(plain(x, lengths=lengths), y).backward()
    with ThreadEngine(model, make_plan(*CUTS[cut]), MSE) as engine:
        torch.manual_seed(8)
        make_encoder()
        with pytest.warns(UserWarning, match=message):
            loss = engine.train_step(x, y, lengths=lengths)
        loss.backward()

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)
    for (name, found), (_, expected) in zip(
        model.named_buffers(), plain.named_buffers(), strict=True
    ):
        assert torch.equal(found, expected), name
    if beyond == "hooks":
        assert model.encoder.n_calls == plain.encoder.n_calls == 2


def test_an_encoder_is_said_to_run_uncut_once() -> None:
    model = build_model()
    model.encoder = OverTime().double()
    with ThreadEngine(model, CUT, MSE) as engine:
        with pytest.warns(UserWarning, match="The encoder runs on whole batches"):
            engine.train_step(*make_batch())

        # A second time would be an error here.
        engine.train_step(*make_batch())
        engine.predict(make_batch()[0])


def test_predictions_of_an_encoder_that_looks_beyond_a_step_are_those_of_one_piece() -> None:
    model = build_model()
    model.encoder = OverTime().double()
    with (
        pytest.warns(UserWarning, match="whole batches"),
        ThreadEngine(model, CUT, MSE) as engine,
    ):
        found = engine.predict(make_batch()[0])

    assert relative_error(found, model(make_batch()[0])) <= 1e-12


def test_an_encoder_that_changes_the_number_of_steps_is_refused() -> None:
    model = build_model()
    model.encoder = OverTime().double()
    model.encoder.conv.padding = (0,)
    with (
        ThreadEngine(model, CUT, MSE) as engine,
        pytest.warns(UserWarning, match="whole batches"),
        pytest.raises(ShapeError, match="made 5 steps of 5 rows out of 7 steps"),
    ):
        engine.train_step(*make_batch())


class Pooling(WindowHead):
    """Looks at every step of the window."""

    def forward(self, y: Tensor) -> Tensor:
        return self.linear(y.mean(0)).reshape(-1, *self.output_shape)


class Smoothing(StepHead):
    def forward(self, y: Tensor) -> Tensor:
        return super().forward(torch.cumsum(y, 0))


def with_head(make_head: Callable[[], Any]) -> StackModel:
    model = build_model()
    torch.manual_seed(8)
    model.head = make_head().double()
    return model


def dropping_head() -> WindowHead:
    head = WindowHead(HIDDEN, (HORIZON, N_TARGETS))
    head.linear = nn.Sequential(nn.Dropout(0.3), head.linear)  # type: ignore[assignment]
    return head


def pooling() -> WindowHead:
    return Pooling(HIDDEN, (HORIZON, N_TARGETS))


def smoothing() -> StepHead:
    return Smoothing(HIDDEN, N_TARGETS)


@pytest.mark.parametrize(
    ("make_head", "name"),
    [(pooling, "Pooling"), (smoothing, "Smoothing"), (dropping_head, "Dropout")],
)
def test_a_head_that_looks_beyond_a_step_is_refused_where_a_batch_is_cut(
    make_head: Callable[[], Any], name: str
) -> None:
    model = with_head(make_head)
    x, y = make_batch(every_step=model.head.every_step)
    with ThreadEngine(model, CUT, MSE) as engine:
        with pytest.raises(UsageError, match=f"but {name} in it may look beyond"):
            engine.train_step(x, y)
        model.eval()
        if make_head is dropping_head:
            assert relative_error(engine.predict(x), model(x)) <= 1e-12
        else:
            with pytest.raises(UsageError, match="pieces of a batch"):
                engine.predict(x)


@pytest.mark.parametrize(
    ("make_head", "grid"), [(pooling, (1, 1)), (smoothing, (1, 1)), (dropping_head, (1, 4))]
)
def test_a_head_that_sees_all_at_once_may_look_beyond_a_step(
    make_head: Callable[[], Any], grid: tuple[int, int]
) -> None:
    plain, model = with_head(make_head), with_head(make_head)
    x, y = make_batch(every_step=model.head.every_step)
    torch.manual_seed(8)
    plain_loss(plain, x, y).backward()
    with ThreadEngine(model, make_plan([2, 2], "gpipe", *grid), MSE) as engine:
        torch.manual_seed(8)
        engine.train_step(x, y).backward()

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)


# --- hooks on modules, and tensors that nobody knows of ---


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("", "register_forward_hook"),
        ("gru", "register_forward_pre_hook"),
        ("gru.blocks.1", "register_forward_hook"),
        ("gru.blocks.1.parts.0", "register_full_backward_hook"),
        ("gru.blocks.1.parts.0", "register_full_backward_pre_hook"),
        ("head.linear", "register_full_backward_hook"),
        ("head", "register_forward_hook"),
    ],
)
def test_hooks_on_modules_that_would_see_pieces_are_refused(where: str, kind: str) -> None:
    model = build_model()
    handle = getattr(model.get_submodule(where), kind)(lambda *_: None)
    with ThreadEngine(model, CUT, MSE) as engine:
        with pytest.raises(UsageError, match=f"hook .* of {where or 'the model'} "):
            engine.train_step(*make_batch())
        handle.remove()
        engine.train_step(*make_batch())


@pytest.mark.parametrize("cut", CUTS)
def test_a_counter_of_flops_sees_what_plain_training_shows_it(cut: str) -> None:
    with FlopCounterMode(display=False) as expected:
        plain_loss(build_model(), *make_batch()).backward()
    with (
        ThreadEngine(build_model(), make_plan(*CUTS[cut]), MSE) as engine,
        FlopCounterMode(display=False) as found,
    ):
        engine.train_step(*make_batch()).backward()

    assert found.get_total_flops() == expected.get_total_flops() > 0


def test_a_hook_before_forward_that_wants_the_inputs_is_refused() -> None:
    model = build_model()
    with ThreadEngine(model, CUT, MSE) as engine:
        for hook in (lambda _, inputs: inputs[0].sum(), lambda *_: torch.zeros(1)):
            part = model.gru.gru_blocks[0].gru_parts[0]
            handle = part.register_forward_pre_hook(hook)
            with pytest.raises(UsageError, match="reads or changes its inputs"):
                engine.train_step(*make_batch())
            handle.remove()


def test_a_tensor_that_the_loss_brings_along_is_refused_and_not_left_without_a_gradient() -> None:
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    loss = SumLoss("scaled", lambda p, t: (scale * (p - t) ** 2).sum(), Tensor.numel)
    with (
        ThreadEngine(build_model(), CUT, loss) as engine,
        pytest.raises(UsageError, match="neither a parameter of the head nor a target"),
    ):
        engine.train_step(*make_batch())


def test_a_block_that_stands_twice_in_a_stack_trains_once_with_both_gradients() -> None:
    def build() -> StackModel:
        model = build_model()
        model.gru.blocks[2] = model.gru.blocks[1]
        return model

    plain, model = build(), build()
    plain_loss(plain, *make_batch()).backward()
    with ThreadEngine(model, CUT, MSE) as engine:
        engine.train_step(*make_batch()).backward()

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)


def test_a_stack_with_parametrizations_has_a_state_dict_that_loads_again() -> None:
    model = build_model()
    part = model.gru.gru_blocks[2].gru_parts[0]
    nn.utils.parametrizations.weight_norm(part, "weight_hh_l0")
    state = {name: weight.clone() for name, weight in model.state_dict().items()}
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    model.load_state_dict(state)

    assert all(torch.equal(weight, state[name]) for name, weight in model.state_dict().items())
    assert isinstance(model.gru, GRUStack)
