"""Under autocast: casts once per call, sums in float32, every kind of device in one type."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from gru_parallel.engine import borrowed_model, context
from gru_parallel.engine.context import CallerContext, autocast_of
from gru_parallel.engine.engine import WholeEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import StackModel, Windows
from gru_parallel.schedule import segments_of
from gru_parallel.stage.cells import Cells
from gru_parallel.stage.gradients import SectionGradients
from gru_parallel.stage.spec import PassSpec, Purpose
from tests.builders import (
    HIDDEN,
    MSE,
    SMALL_MSE,
    assert_gradients_close,
    build_model,
    gradients_of,
    make_batch,
    make_plan,
    relative_error,
)
from tests.cudnn_stand_in import refuse_what_cudnn_refuses

pytestmark = pytest.mark.usefixtures("no_thread_left")

BFLOAT16: dict[str, Any] = {"device_type": "cpu", "dtype": torch.bfloat16}
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def make_engine(model: StackModel, n_micro_batches: int = 1, n_chunks: int = 2) -> ThreadEngine:
    return ThreadEngine(model, make_plan([1, 2, 1], "gpipe", n_micro_batches, n_chunks), MSE)


def step(engine: ThreadEngine | WholeEngine, **options: Any) -> Tensor:
    x, y = make_batch(dtype=torch.float32)
    # Laid out as the pipeline lays out its cells, which in bfloat16 is seen in the sums.
    x = x.transpose(0, 1).contiguous().transpose(0, 1)
    with torch.autocast(**BFLOAT16, **options):
        loss = engine.train_step(Windows(x, y))
    loss.backward()
    return loss.detach()


def leaves_of(engine: ThreadEngine) -> list[Tensor]:
    """What the blocks of all stages compute with."""
    return [weight for stage in engine._stages for weight in stage.modules.groups[0].weights]


def test_weights_are_cast_once_per_call_into_the_same_memory() -> None:
    model = build_model(dtype=torch.float32)
    with make_engine(model, 2, 3) as engine:
        step(engine)
        before = leaves_of(engine)
        copies = [leaf.detach().clone() for leaf in before]
        memory = [leaf.data_ptr() for leaf in before]
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(2.0)
        with torch.inference_mode(), torch.autocast(**BFLOAT16):
            engine.predict(Windows(make_batch(dtype=torch.float32)[0]))
        step(engine)
        after = leaves_of(engine)

    assert {leaf.dtype for leaf in after} == {torch.bfloat16}
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert memory == [leaf.data_ptr() for leaf in after]
    assert all(torch.equal(leaf, 2 * copy) for leaf, copy in zip(after, copies, strict=True))


def test_autocast_may_come_and_go_between_steps() -> None:
    model, other = (build_model(dtype=torch.float32) for _ in range(2))
    losses = []
    with make_engine(model) as engine, make_engine(other) as fresh:
        for is_on in (False, True, False):
            losses.append(step(engine, enabled=is_on))
            assert {leaf.dtype for leaf in leaves_of(engine)} == {
                torch.bfloat16 if is_on else torch.float32
            }
        assert torch.equal(losses[1], step(fresh))

    assert torch.equal(losses[0], losses[2])
    assert not torch.equal(losses[0], losses[1])


def is_rounded(tensor: Tensor) -> bool:
    return torch.equal(tensor, tensor.bfloat16().to(tensor.dtype))


def test_gradients_are_added_up_over_the_cells_in_float32() -> None:
    rounded = {}
    for n_chunks in (1, 3):
        model = build_model(dtype=torch.float32)
        with make_engine(model, n_chunks=n_chunks) as engine:
            step(engine)
        blocks = model.gru.blocks.parameters()
        rounded[n_chunks] = {is_rounded(w.grad) for w in blocks if w.grad is not None}

    # Those of one cell come as the operator gives them out.
    assert rounded == {1: {True}, 3: {False}}


def test_sums_of_16_bits_do_not_lose_what_is_small() -> None:
    # 256 + 1 is 256 in bfloat16.
    weight = torch.zeros(2, dtype=torch.bfloat16, requires_grad=True)
    spec = PassSpec(
        Purpose.TRAIN, Windows(make_batch()[0]), Cells.cut(1, 3, 1, 3), segments_of(3, None)
    )
    gradients = SectionGradients([weight], spec)
    for value in (256.0, 1.0, 1.0):
        gradients.of_inputs([(weight * value).sum()], [None], [])

    (total,) = gradients.of_weights()
    assert total is not None
    assert (total.dtype, total.tolist()) == (torch.float32, [258.0, 258.0])


def test_a_learned_state_keeps_its_type_and_gets_its_gradient_in_it() -> None:
    # All rows begin with it: their gradients are added up, too.
    found = []
    for whole in (False, True):
        model = build_model(dtype=torch.float32, h_0="learned")
        with make_engine(model, 1, 1) as engine:
            step(WholeEngine(model, MSE) if whole else engine)
        found.append(gradients_of(model))
        states = [w.grad for n, w in model.named_parameters() if n.endswith(".h_0_l0")]
        assert not any(is_rounded(grad) for grad in states if grad is not None)

    assert_gradients_close(*found, 0.0)


class Sharp(nn.GRU):
    """Looks at its weights before it computes, and scales what comes out by one of its own."""

    stepwise = True
    seen: list[torch.dtype]

    def forward(self, x: Tensor, hx: Tensor) -> tuple[Tensor, Tensor]:
        """Scale."""
        self.seen += [weight.dtype for weight in self.parameters()]
        y, h_n = super().forward(x, hx)
        return y * self.scale, h_n


def test_a_class_of_ones_own_sees_its_weights_as_they_are() -> None:
    model = build_model(dtype=torch.float32)
    sharp = Sharp(HIDDEN, HIDDEN)
    sharp.scale, sharp.seen = nn.Parameter(torch.ones(HIDDEN)), []
    model.gru.blocks[1].parts[0] = sharp
    with make_engine(model) as engine, refuse_what_cudnn_refuses() as calls:
        step(engine)

    assert set(sharp.seen) == {torch.float32}
    assert {call.dtype for call in calls} == {torch.bfloat16}
    assert {w.grad.dtype for w in sharp.parameters() if w.grad is not None} == {torch.float32}


@pytest.mark.parametrize("whole", [False, True], ids=["pipeline", "in one piece"])
def test_weights_behind_a_parametrization_are_cast_and_trained(whole: bool) -> None:
    model = build_model(dtype=torch.float32)
    for block in model.gru.gru_blocks:
        parametrizations.weight_norm(block.gru_parts[0], "weight_hh_l0")
    with make_engine(model) as engine, refuse_what_cudnn_refuses() as calls:
        step(WholeEngine(model, MSE) if whole else engine)

    assert {call.dtype for call in calls} == {torch.bfloat16}
    found = gradients_of(model).values()
    assert {None if g is None else g.dtype for g in found} == {torch.float32}


@contextmanager
def autocast_on(kind: str, dtype: torch.dtype) -> Iterator[None]:
    """What torch.autocast does; it refuses to on a kind of device that is not there."""
    before = torch.get_autocast_dtype(kind)
    torch.set_autocast_enabled(kind, True)
    torch.set_autocast_dtype(kind, dtype)
    try:
        yield
    finally:
        torch.set_autocast_enabled(kind, False)
        torch.set_autocast_dtype(kind, before)


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_stages_on_all_kinds_of_device_follow_the_one_kind_that_is_cast(kind: str) -> None:
    with autocast_on(kind, torch.bfloat16):
        both = autocast_of([CUDA, CPU])
        alone = autocast_of([CUDA])
        captured = CallerContext.capture([CPU])

    assert both == {"cpu": torch.bfloat16, "cuda": torch.bfloat16}
    # Where nothing runs on the kind that is cast, nothing is cast.
    assert alone == {"cuda": torch.bfloat16 if kind == "cuda" else None}
    assert captured.autocast == {"cpu": torch.bfloat16 if kind == "cpu" else None}


def test_a_stage_computes_in_the_type_of_the_others_where_its_own_kind_is_not_cast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As on a CPU behind a GPU, with autocast on for the GPU.
    for module in (context, borrowed_model):
        monkeypatch.setattr(module, "autocast_of", lambda _: {"cpu": torch.bfloat16})
    model = build_model(dtype=torch.float32)
    with make_engine(model) as engine, refuse_what_cudnn_refuses() as calls:
        step(engine, enabled=False)
        predictions = engine.predict(Windows(make_batch(dtype=torch.float32)[0]))

    assert {call.dtype for call in calls} == {predictions.dtype} == {torch.bfloat16}
    assert {g.dtype for g in gradients_of(model).values() if g is not None} == {torch.float32}


def test_kinds_with_types_of_their_own_keep_them() -> None:
    with autocast_on("cpu", torch.bfloat16), autocast_on("cuda", torch.float16):
        assert autocast_of([CPU, CUDA]) == {"cpu": torch.bfloat16, "cuda": torch.float16}


def gradients_of_a_small_loss(dtype: torch.dtype | None, loss_scale: float) -> dict[str, Tensor]:
    model = build_model(dtype=torch.float32)
    x, y = make_batch(dtype=torch.float32)
    plan = make_plan([1, 2, 1], "gpipe", 2, 2)
    with ThreadEngine(model, plan, SMALL_MSE) as engine:
        engine.loss_scale = loss_scale
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            loss = engine.train_step(Windows(x, y))
        loss.backward()
    named = model.gru.named_parameters()
    return {name: weight.grad for name, weight in named if weight.grad is not None}


def test_a_scale_keeps_small_gradients_in_float16() -> None:
    expected = gradients_of_a_small_loss(None, 1.0)
    vanished = gradients_of_a_small_loss(torch.float16, 1.0)
    kept = gradients_of_a_small_loss(torch.float16, 2.0**18)

    assert not any(gradient.any() for gradient in vanished.values())
    for name, gradient in expected.items():
        assert relative_error(kept[name], gradient) <= 2**-5, name


def test_a_scale_that_is_a_power_of_two_moves_no_bit_of_float32() -> None:
    plain, scaled = (gradients_of_a_small_loss(None, scale) for scale in (1.0, 2.0**16))

    assert all(torch.equal(scaled[name], gradient) for name, gradient in plain.items())
