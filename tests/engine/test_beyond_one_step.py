"""Encoders and heads that look beyond one step: run uncut, or refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import ShapeError, UsageError
from gru_parallel.model import StackModel, StepHead, WindowHead, Windows
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
from tests.engine.plain import CUT, CUTS, RAGGED, plain_loss
from tests.grids import covering

pytestmark = pytest.mark.usefixtures("no_thread_left")


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
@covering(1, beyond=BEYOND, cut=CUTS, is_ragged=[False, True])
def test_an_encoder_that_looks_beyond_a_step_runs_uncut(
    beyond: str, cut: str, is_ragged: bool
) -> None:
    make_encoder, message = BEYOND[beyond]
    lengths = RAGGED if is_ragged else None

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
            loss = engine.train_step(Windows(x, y, lengths=lengths))
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
            engine.train_step(Windows(*make_batch()))

        # A second time would be an error here.
        engine.train_step(Windows(*make_batch()))
        engine.predict(Windows(make_batch()[0]))


def test_predictions_of_an_encoder_that_looks_beyond_a_step_are_those_of_one_piece() -> None:
    model = build_model()
    model.encoder = OverTime().double()
    with (
        pytest.warns(UserWarning, match="whole batches"),
        ThreadEngine(model, CUT, MSE) as engine,
    ):
        found = engine.predict(Windows(make_batch()[0]))

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
        engine.train_step(Windows(*make_batch()))


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
    head.linear = nn.Sequential(nn.Dropout(0.3), head.linear)
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
            engine.train_step(Windows(x, y))
        model.eval()
        if make_head is dropping_head:
            assert relative_error(engine.predict(Windows(x)), model(x)) <= 1e-12
        else:
            with pytest.raises(UsageError, match="pieces of a batch"):
                engine.predict(Windows(x))


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
        engine.train_step(Windows(x, y)).backward()

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)
