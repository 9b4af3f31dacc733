"""A step as a piece of a larger graph, and of a program that changes its model between steps."""

import gc
import sys
import weakref
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import ShapeError, UsageError
from gru_parallel.model import GRUBlock, GRUStack, StackModel, StepHead, SumLoss, WindowHead
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
        pytest.raises(UsageError, match="The head, or the loss, computes with a tensor of shape"),
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


# --- classes of the caller's own ---


class NormedGRU(nn.GRU):
    """Has weights that `nn.GRU` knows nothing of."""

    stepwise = True

    def __init__(self) -> None:
        super().__init__(HIDDEN, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN)
        self.scale = nn.Parameter(torch.full((HIDDEN,), 1.5))

    def forward(self, x: Tensor, h_0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, h_n = super().forward(x, h_0)
        return self.norm(y) * self.scale, h_n


class ResidualBlock(GRUBlock):
    stepwise = True

    def __init__(self) -> None:
        super().__init__(HIDDEN, HIDDEN, first_layer=1, last=False)
        self.norm = nn.LayerNorm(HIDDEN)

    def forward(self, x: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
        y, h_n = super().forward(x, *others)
        return self.norm(x + y), h_n


def own_part(model: StackModel) -> None:
    model.gru.gru_blocks[1].parts[0] = NormedGRU().double()


def own_block(model: StackModel) -> None:
    model.gru.blocks[1] = ResidualBlock().double()


OWN: dict[str, Callable[[StackModel], None]] = {"part": own_part, "block": own_block}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("own", OWN)
def test_weights_that_a_class_of_the_callers_own_adds_are_trained(own: str, cut: str) -> None:
    def build() -> StackModel:
        model = build_model()
        torch.manual_seed(3)
        OWN[own](model)
        return model

    plain, model = build(), build()
    plain_loss(plain, *make_batch()).backward()
    with ThreadEngine(model, make_plan(*CUTS[cut]), MSE) as engine:
        engine.train_step(*make_batch()).backward()

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)
    state = model.state_dict()
    assert len(state) == len(list(model.parameters()))
    build().load_state_dict(state)


def test_a_forward_of_ones_own_that_may_not_be_cut_is_refused() -> None:
    class Unknown(GRUBlock):
        def forward(self, x: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
            return super().forward(x.cumsum(0), *others)

    model = build_model()
    model.gru.blocks[1].__class__ = Unknown
    with ThreadEngine(model, CUT, MSE) as engine, pytest.raises(UsageError, match="Unknown has"):
        engine.train_step(*make_batch())
    plain = build_model()
    plain.gru.blocks[1].__class__ = Unknown
    plain_loss(plain, *make_batch()).backward()
    with ThreadEngine(model, make_plan([2, 2]), MSE) as engine:
        engine.train_step(*make_batch()).backward()

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)


def test_a_forward_that_a_pipeline_never_calls_is_refused() -> None:
    class Doubled(StackModel):
        def forward(self, *args: Any, **kwargs: Any) -> Tensor:
            return 2 * super().forward(*args, **kwargs)

    class Stack(GRUStack):
        def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
            return super().forward(*args, **kwargs)

    for kind in (Doubled, Stack):
        model = build_model()
        changed = model if kind is Doubled else model.gru
        changed.__class__ = kind
        with ThreadEngine(model, CUT, MSE) as engine:
            with pytest.raises(UsageError, match=f"{kind.__name__} has a forward of its own"):
                engine.train_step(*make_batch())
            with pytest.raises(UsageError, match="does not call"):
                engine.predict(make_batch()[0])


def test_a_part_that_stands_twice_in_a_block_trains_once_with_both_gradients() -> None:
    def build() -> StackModel:
        model = build_model(4, 2, dropout=1e-9).eval()
        block = model.gru.gru_blocks[1]
        block.parts[1] = block.parts[0]
        return model

    plain, model = build(), build()
    plain_loss(plain, *make_batch()).backward()
    plan = make_plan([1, 1], "gpipe", 2, 3, layers_per_block=2)
    with ThreadEngine(model, plan, MSE) as engine:
        engine.train_step(*make_batch()).backward()

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)


class Reaching(nn.Module):
    """Its weight is not found by its name where it is used."""

    stepwise = True

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(N_CHANNELS, WIDTH)
        self.steps = [self.linear, torch.tanh]

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x


def test_weights_that_a_pipeline_cannot_find_are_refused_and_not_left_untrained() -> None:
    model = build_model()
    model.encoder = Reaching().double()
    with (
        ThreadEngine(model, CUT, MSE) as engine,
        pytest.raises(UsageError, match="The encoder computes with a tensor of shape"),
    ):
        engine.train_step(*make_batch())


class Called(nn.Linear):
    def __call__(self, x: Tensor) -> Tensor:
        return 2 * super().__call__(x)


class Looked(nn.Module):
    """Looks at what its parts are."""

    stepwise = True

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(N_CHANNELS, WIDTH)
        self.linear.weight.gain = 3.0  # type: ignore[attr-defined]

    def forward(self, x: Tensor) -> Tensor:
        assert type(self.linear) is nn.Linear
        assert isinstance(self.linear.weight, nn.Parameter)
        return self.linear(x) * self.linear.weight.gain


@pytest.mark.parametrize("make_encoder", [Looked, lambda: Called(N_CHANNELS, WIDTH)])
def test_a_module_sees_of_itself_what_it_always_sees(make_encoder: Callable[[], nn.Module]) -> None:
    def build() -> StackModel:
        model = build_model()
        torch.manual_seed(3)
        model.encoder = make_encoder().double()
        return model

    plain, model = build(), build()
    plain_loss(plain, *make_batch()).backward()
    with ThreadEngine(model, CUT, MSE) as engine:
        engine.train_step(*make_batch()).backward()

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)


def test_another_model_of_the_engine_is_the_one_that_runs() -> None:
    other = build_model(seed=9)
    with ThreadEngine(build_model(), CUT, MSE) as engine:
        engine.train_step(*make_batch())
        engine.model = other
        loss = engine.train_step(*make_batch())
        prediction = engine.predict(make_batch()[0])

    assert relative_error(loss, plain_loss(other, *make_batch())) <= 1e-12
    assert relative_error(prediction, other(make_batch()[0])) <= 1e-12


def test_hooks_of_a_weight_that_is_not_used_are_not_called() -> None:
    model = build_model()
    calls: list[Tensor] = []
    model.head.extra = nn.Parameter(torch.ones(2).double())  # type: ignore[assignment]
    model.head.extra.register_hook(calls.append)
    with ThreadEngine(model, CUT, MSE) as engine:
        engine.train_step(*make_batch()).backward()

    assert calls == []
    assert model.head.extra.grad is None


def test_a_state_that_no_block_starts_from_gets_no_gradient() -> None:
    h_0 = torch.zeros(4, 5, HIDDEN, dtype=torch.float64, requires_grad=True)
    with ThreadEngine(build_model(h_0="zeros"), CUT, MSE) as engine:
        engine.train_step(*make_batch(), h_0=h_0).backward()

    assert h_0.grad is None


@pytest.mark.parametrize("every_step", [False, True])
def test_targets_of_other_rows_or_steps_are_refused(every_step: bool) -> None:
    x, y = make_batch(every_step=every_step)
    wrong = [y[:4], torch.cat([y, y])] + ([y[:, :5]] if every_step else [])
    with ThreadEngine(build_model(every_step=every_step), CUT, MSE) as engine:
        for targets in wrong:
            with pytest.raises(ShapeError, match=r"Targets of shape .* do not fit windows"):
                engine.train_step(x, targets)


def test_targets_are_never_broadcast() -> None:
    x, y = make_batch()
    with (
        ThreadEngine(build_model(), CUT, MSE) as engine,
        pytest.raises(ShapeError, match="do not fit predictions"),
    ):
        engine.train_step(x, y[:, :1])


def test_a_loss_that_counts_by_value_is_divided_by_what_it_counts() -> None:
    from gru_parallel.engine.engine import WholeEngine

    loss = SumLoss(
        "masked",
        lambda p, t: ((p - t) ** 2 * (t > -0.5)).sum(),
        lambda t: int((t > -0.5).sum()),
    )
    x, y = make_batch(every_step=True)
    expected = WholeEngine(build_model(every_step=True), loss).train_step(x, y, lengths=RAGGED)
    with ThreadEngine(build_model(every_step=True), CUT, loss) as engine:
        found = engine.train_step(x, y, lengths=RAGGED)

    assert relative_error(found, expected) <= 1e-12


def test_modules_that_change_their_input_in_place_train() -> None:
    def build() -> StackModel:
        model = build_model()
        # Two modules; the first writes over what the stack gives out.
        model.head.linear = nn.Sequential(nn.ReLU(inplace=True), model.head.linear)  # type: ignore[assignment]
        model.encoder = nn.Sequential(nn.ReLU(inplace=True), model.encoder)
        return model

    plain, model = build(), build()
    x, y = make_batch()
    before = x.clone().requires_grad_()
    plain_loss(plain, before * 1, y).backward()
    same = x.clone().requires_grad_()
    with ThreadEngine(model, CUT, MSE) as engine:
        engine.train_step(same * 1, y).backward()

    assert_equal_gradients([same.grad], [before.grad])
    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)


def test_the_scale_of_a_loss_may_be_too_large_for_half_precision() -> None:
    class Undeclared(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    model = build_model(dtype=torch.float32)
    model.encoder = Undeclared(N_CHANNELS, WIDTH)
    x, y = make_batch(dtype=torch.float32)
    with (
        ThreadEngine(model, CUT, MSE) as engine,
        torch.autocast("cpu", torch.float16),
        pytest.warns(UserWarning, match="whole batches"),
    ):
        loss = engine.train_step(x, y)
    (loss * 2.0**16).backward()

    assert all(w.grad is not None and w.grad.isfinite().all() for w in model.parameters())


def test_a_model_in_half_precision_has_a_loss_that_is_finite() -> None:
    model = build_model(dtype=torch.float32).half()
    x, y = make_batch(64, dtype=torch.float32)
    with ThreadEngine(model, CUT, MSE) as engine:
        loss = engine.train_step(x.half(), 20 * y.half())

    assert loss.isfinite()
    assert loss.item() == pytest.approx((20 * y).pow(2).mean().item(), rel=0.1)


def test_python_threads_that_train_with_one_engine_take_turns() -> None:
    plain = [plain_loss(build_model(), *make_batch(seed=seed)).item() for seed in range(4)]
    found: dict[int, list[float]] = {seed: [] for seed in range(4)}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        with ThreadEngine(build_model(), CUT, MSE) as engine:

            def work(seed: int) -> None:
                for _ in range(10):
                    found[seed].append(engine.train_step(*make_batch(seed=seed)).item())

            threads = [Thread(target=work, args=(seed,)) for seed in found]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)

    for seed, losses in found.items():
        assert losses == pytest.approx([plain[seed]] * 10, rel=1e-12)


# Of torch's own, at its first transform.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_what_looks_inside_is_refused() -> None:
    x, y = make_batch()
    with ThreadEngine(build_model(), CUT, MSE) as engine:
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x, torch.ones_like(x))
            with pytest.raises(RuntimeError, match="A pipeline cannot be differentiated forward"):
                engine.train_step(dual, y)
        with pytest.raises(RuntimeError, match=r"A pipeline knows nothing of torch\.func"):
            torch.func.grad(lambda x: engine.train_step(x, y))(x)


def test_a_learned_state_that_is_pruned_has_a_state_dict() -> None:
    model = build_model(h_0="learned")
    prune.l1_unstructured(model.gru.gru_blocks[1], "h_0_l0", amount=0.4)
    with ThreadEngine(model, CUT, MSE) as engine:
        engine.train_step(*make_batch()).backward()

    state = model.state_dict()
    assert "gru.h_0_l1_orig" in state
    model.load_state_dict(state)
