"""Modules, targets and losses of the caller's own: trained as plain PyTorch does, or refused."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils import prune

from gru_parallel.engine.engine import WholeEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import ShapeError, UsageError
from gru_parallel.model import (
    BidirectionalBlock,
    GRUBlock,
    GRUStack,
    StackModel,
    SumLoss,
    WindowHead,
    Windows,
)
from tests.builders import (
    HIDDEN,
    MSE,
    N_CHANNELS,
    WIDTH,
    assert_gradients_close,
    build_model,
    gradients_of,
    make_batch,
    make_plan,
    relative_error,
)
from tests.engine.plain import CUT, CUTS, RAGGED, assert_equal_gradients, plain_loss

pytestmark = pytest.mark.usefixtures("no_thread_left")


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
        engine.train_step(Windows(*make_batch())).backward()

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
        engine.train_step(Windows(*make_batch()))
    plain = build_model()
    plain.gru.blocks[1].__class__ = Unknown
    plain_loss(plain, *make_batch()).backward()
    with ThreadEngine(model, make_plan([2, 2]), MSE) as engine:
        engine.train_step(Windows(*make_batch())).backward()

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
                engine.train_step(Windows(*make_batch()))
            with pytest.raises(UsageError, match="does not call"):
                engine.predict(Windows(make_batch()[0]))


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
        engine.train_step(Windows(*make_batch())).backward()

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
        engine.train_step(Windows(*make_batch()))


class Called(nn.Linear):
    def __call__(self, x: Tensor) -> Tensor:
        return 2 * super().__call__(x)


class Looked(nn.Module):
    """Looks at what its parts are."""

    stepwise = True

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(N_CHANNELS, WIDTH)
        self.linear.weight.gain = 3.0

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
        engine.train_step(Windows(*make_batch())).backward()

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)


def test_another_model_of_the_engine_is_the_one_that_runs() -> None:
    other = build_model(seed=9)
    with ThreadEngine(build_model(), CUT, MSE) as engine:
        engine.train_step(Windows(*make_batch()))
        engine.model = other
        loss = engine.train_step(Windows(*make_batch()))
        prediction = engine.predict(Windows(make_batch()[0]))

    assert relative_error(loss, plain_loss(other, *make_batch())) <= 1e-12
    assert relative_error(prediction, other(make_batch()[0])) <= 1e-12


def test_hooks_of_a_weight_that_is_not_used_are_not_called() -> None:
    model = build_model()
    calls: list[Tensor] = []
    model.head.extra = nn.Parameter(torch.ones(2).double())
    model.head.extra.register_hook(calls.append)
    with ThreadEngine(model, CUT, MSE) as engine:
        engine.train_step(Windows(*make_batch())).backward()

    assert calls == []
    assert model.head.extra.grad is None


def test_a_state_that_no_block_starts_from_gets_no_gradient() -> None:
    h_0 = torch.zeros(4, 5, HIDDEN, dtype=torch.float64, requires_grad=True)
    with ThreadEngine(build_model(h_0="zeros"), CUT, MSE) as engine:
        engine.train_step(Windows(*make_batch(), h_0=h_0)).backward()

    assert h_0.grad is None


@pytest.mark.parametrize("every_step", [False, True])
def test_targets_of_other_rows_or_steps_are_refused(every_step: bool) -> None:
    x, y = make_batch(every_step=every_step)
    wrong = [y[:4], torch.cat([y, y])] + ([y[:, :5]] if every_step else [])
    with ThreadEngine(build_model(every_step=every_step), CUT, MSE) as engine:
        for targets in wrong:
            with pytest.raises(ShapeError, match=r"Targets of shape .* do not fit windows"):
                engine.train_step(Windows(x, targets))


def test_targets_are_never_broadcast() -> None:
    x, y = make_batch()
    with (
        ThreadEngine(build_model(), CUT, MSE) as engine,
        pytest.raises(ShapeError, match="do not fit predictions"),
    ):
        engine.train_step(Windows(x, y[:, :1]))


class Flat(WindowHead):
    """Returns one number for each window, and says that they are (1, 1)."""

    stepwise = True

    def forward(self, y: Tensor) -> Tensor:
        return super().forward(y).flatten()


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_head_that_breaks_its_output_shape_is_refused(is_cut: bool) -> None:
    x, y = make_batch()
    model = build_model()
    model.head = Flat(HIDDEN, (1, 1)).double()
    # One that broadcasts, as losses of the caller's own do.
    loss = SumLoss("own", lambda p, t: (p - t).square().sum(), Tensor.numel)
    with (
        ThreadEngine(model, CUT, loss)
        if is_cut
        else nullcontext(WholeEngine(model, loss)) as engine
    ):
        with pytest.raises(UsageError, match=r"head Flat returned .* output_shape=\(1, 1\)"):
            engine.train_step(Windows(x, y[:, :1, :1]))
        with pytest.raises(UsageError, match=r"head Flat returned .* output_shape=\(1, 1\)"):
            engine.predict(Windows(x))


def test_a_loss_that_counts_by_value_is_divided_by_what_it_counts() -> None:
    loss = SumLoss(
        "masked",
        lambda p, t: ((p - t) ** 2 * (t > -0.5)).sum(),
        lambda t: int((t > -0.5).sum()),
    )
    x, y = make_batch(every_step=True)
    expected = WholeEngine(build_model(every_step=True), loss).train_step(
        Windows(x, y, lengths=RAGGED)
    )
    with ThreadEngine(build_model(every_step=True), CUT, loss) as engine:
        found = engine.train_step(Windows(x, y, lengths=RAGGED))

    assert relative_error(found, expected) <= 1e-12


def test_modules_that_change_their_input_in_place_train() -> None:
    def build() -> StackModel:
        model = build_model()
        # Two modules; the first writes over what the stack gives out.
        model.head.linear = nn.Sequential(nn.ReLU(inplace=True), model.head.linear)
        model.encoder = nn.Sequential(nn.ReLU(inplace=True), model.encoder)
        return model

    plain, model = build(), build()
    x, y = make_batch()
    before = x.clone().requires_grad_()
    plain_loss(plain, before * 1, y).backward()
    same = x.clone().requires_grad_()
    with ThreadEngine(model, CUT, MSE) as engine:
        engine.train_step(Windows(same * 1, y)).backward()

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
        loss = engine.train_step(Windows(x, y))
    (loss * 2.0**16).backward()

    assert all(w.grad is not None and w.grad.isfinite().all() for w in model.parameters())


def test_a_model_in_half_precision_has_a_loss_that_is_finite() -> None:
    model = build_model(dtype=torch.float32).half()
    x, y = make_batch(64, dtype=torch.float32)
    with ThreadEngine(model, CUT, MSE) as engine:
        loss = engine.train_step(Windows(x.half(), 20 * y.half()))

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
                for _ in range(5):
                    found[seed].append(engine.train_step(Windows(*make_batch(seed=seed))).item())

            threads = [Thread(target=work, args=(seed,)) for seed in found]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)

    for seed, losses in found.items():
        assert losses == pytest.approx([plain[seed]] * 5, rel=1e-12)


# Of torch's own, at its first transform.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_what_looks_inside_is_refused() -> None:
    x, y = make_batch()
    refused = pytest.raises(RuntimeError, match=r"A pipeline knows nothing of torch\.func")
    with ThreadEngine(build_model(), CUT, MSE) as engine, refused:
        torch.func.grad(lambda x: engine.train_step(Windows(x, y)))(x)


# Of torch's own, at its first dual tensor.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("what", ["x", "y", "h_0", "weight"])
def test_what_is_to_be_differentiated_forward_is_refused(what: str) -> None:
    x, y = make_batch()
    model = build_model(h_0="given").requires_grad_(False)
    part = model.gru.gru_blocks[1].parts[0]
    given = {"x": x, "y": y, "h_0": torch.zeros(4, len(x), HIDDEN, dtype=x.dtype)}
    with ThreadEngine(model, CUT, MSE) as engine, forward_ad.dual_level():
        dual = {"weight": part.weight_hh_l0, **given}[what]
        dual = forward_ad.make_dual(dual, torch.ones_like(dual))
        if what == "weight":
            del part.weight_hh_l0
            part.weight_hh_l0 = dual
        else:
            given[what] = dual
        with pytest.raises(RuntimeError, match="A pipeline cannot be differentiated forward"):
            engine.train_step(Windows(**given))


def test_a_learned_state_that_is_pruned_has_a_state_dict() -> None:
    model = build_model(h_0="learned")
    prune.l1_unstructured(model.gru.gru_blocks[1], "h_0_l0", amount=0.4)
    with ThreadEngine(model, CUT, MSE) as engine:
        engine.train_step(Windows(*make_batch())).backward()

    state = model.state_dict()
    assert "gru.h_0_l1_orig" in state
    model.load_state_dict(state)


# Bidirectional blocks have sections of their own.


class Held(nn.GRU):
    """Has a weight that is not found by a name."""

    stepwise = True

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.held = [nn.Parameter(torch.ones(HIDDEN).double())]

    def forward(self, x: Tensor, h_0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, h_n = super().forward(x, h_0)
        return y * self.held[0], h_n


class Mixing(nn.GRU):
    """Has a matrix of its own."""

    stepwise = True

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.mix = nn.Parameter(torch.rand(HIDDEN, HIDDEN))

    def forward(self, x: Tensor, h_0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, h_n = super().forward(x, h_0)
        return y @ self.mix, h_n


class Stateless(nn.GRU):
    stepwise = True

    def forward(self, x: Tensor, h_0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return super().forward(x.mul(0.5))


def plain_weight_norm(part: nn.Module) -> nn.Module:
    return nn.utils.weight_norm(part, "mix")


def new_weight_norm(part: nn.Module) -> nn.Module:
    return nn.utils.parametrizations.weight_norm(part, "mix")


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("change", [None, plain_weight_norm, new_weight_norm, Stateless])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_own_parts_train_however_their_weights_are_made(
    bidirectional: bool, change: Callable[..., nn.Module] | None
) -> None:
    def build() -> StackModel:
        model = build_model(bidirectional=bidirectional)
        torch.manual_seed(3)
        for index, part in enumerate(model.gru.gru_blocks[1].gru_parts):
            kind = Stateless if change is Stateless else Mixing
            own: nn.Module = kind(part.input_size, HIDDEN).double()
            if change is not None and change is not Stateless:
                own = change(own)
            model.gru.gru_blocks[1].parts[index] = own
        return model

    # One that forgets its state is another GRU for each cut in time.
    chunks = 1 if change is Stateless else 3
    plain, model = build(), build()
    plain_loss(plain, *make_batch()).backward()
    with ThreadEngine(model, make_plan([2, 2], "gpipe", 2, chunks), MSE) as engine:
        engine.train_step(Windows(*make_batch())).backward()

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_weights_of_parts_that_a_pipeline_cannot_find_are_refused(bidirectional: bool) -> None:
    model = build_model(bidirectional=bidirectional)
    block = model.gru.gru_blocks[1]
    block.parts[0] = Held(block.gru_parts[0].input_size, HIDDEN).double()
    with (
        ThreadEngine(model, CUT, MSE) as engine,
        pytest.raises(UsageError, match="A block computes with a tensor of shape"),
    ):
        engine.train_step(Windows(*make_batch()))


def test_other_methods_that_a_pipeline_never_calls_are_refused() -> None:
    class Run(StackModel):
        def run(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
            return super().run(*args, **kwargs)

    class Directions(BidirectionalBlock):
        def run_direction(self, *args: Any) -> tuple[Tensor, Tensor]:
            return super().run_direction(*args)

    for kind in (Run, Directions):
        model = build_model(bidirectional=True)
        (model if kind is Run else model.gru.blocks[1]).__class__ = kind
        with ThreadEngine(model, CUT, MSE) as engine, pytest.raises(UsageError, match="of its own"):
            engine.train_step(Windows(*make_batch()))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_hook_that_brings_a_weight_is_refused(bidirectional: bool) -> None:
    model = build_model(bidirectional=bidirectional)
    weight = nn.Parameter(torch.ones(1).double())
    part = model.gru.gru_blocks[1].gru_parts[0]
    part.register_forward_hook(lambda *those: (those[2][0] * weight, those[2][1]))
    with (
        ThreadEngine(model, make_plan([2, 2]), MSE) as engine,
        pytest.raises(UsageError, match="A block computes with a tensor"),
    ):
        engine.train_step(Windows(*make_batch()))


def test_what_is_no_block_is_not_left_out_of_a_stack() -> None:
    model = build_model()
    model.gru.blocks[1] = nn.Sequential(model.gru.blocks[1])
    with pytest.raises(UsageError, match="A Sequential is among the blocks"):
        model(make_batch()[0])
    model = build_model()
    model.gru.gru_blocks[1].parts[0] = nn.Sequential()
    with pytest.raises(UsageError, match="A Sequential is among the parts"):
        model(make_batch()[0])


def test_predictions_in_training_mode_drop_anew_at_each_call() -> None:
    x, _ = make_batch()
    with ThreadEngine(build_model(dropout=0.5), CUT, MSE) as engine:
        assert not torch.equal(engine.predict(Windows(x)), engine.predict(Windows(x)))
        engine.model.eval()
        assert torch.equal(engine.predict(Windows(x)), engine.predict(Windows(x)))


def test_a_learned_state_that_is_pruned_predicts() -> None:
    model = build_model(h_0="learned")
    prune.l1_unstructured(model.gru.gru_blocks[1], "h_0_l0", amount=0.4)
    with ThreadEngine(model, CUT, MSE) as engine:
        found = engine.predict(Windows(make_batch()[0]))

    assert relative_error(found, model(make_batch()[0])) <= 1e-12


def test_a_forward_that_keeps_what_it_made_can_be_called_before() -> None:
    class Keeping(nn.Linear):
        stepwise = True

        def forward(self, x: Tensor) -> Tensor:
            self.seen = super().forward(x)
            return self.seen.tanh()

    model = build_model()
    model.encoder = Keeping(N_CHANNELS, WIDTH).double()
    expected = plain_loss(model, *make_batch())
    with ThreadEngine(model, CUT, MSE) as engine:
        assert relative_error(engine.train_step(Windows(*make_batch())), expected) <= 1e-12
