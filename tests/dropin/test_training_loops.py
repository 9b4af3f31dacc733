"""Plain training loops, in which the drop-in has taken nn.GRU's place: the same losses."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gru_parallel import GRU
from tests.dropin.twins import CUTS, TWO_CPUS, assert_same, make_x
from tests.grids import covering

N_STEPS = 4
N_WORDS, WIDTH, HIDDEN = 11, 3, 4
MakeOptimiser = Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]
Loop = Callable[[nn.Module, torch.optim.Optimizer], list[Tensor]]


class Outputs(nn.Module):
    """Takes the outputs of a GRU, as people write it who put one into an nn.Sequential."""

    def forward(self, out: tuple[Tensor, Tensor]) -> Tensor:
        y, h_n = out
        return torch.cat([y[:, -1], h_n.transpose(0, 1).flatten(1)], dim=1)


def make_model(
    extras: dict[str, Any] | None, *, dtype: torch.dtype = torch.float64, dropout: float = 0.0
) -> nn.Sequential:
    """An embedding, a GRU and a head; with nn.GRU itself where there are no extras."""
    torch.manual_seed(1)
    options: dict[str, Any] = {"batch_first": True, "dropout": dropout, "dtype": dtype}
    plain = nn.GRU(WIDTH, HIDDEN, 2, **options)
    return nn.Sequential(
        nn.Embedding(N_WORDS, WIDTH, dtype=dtype),
        plain if extras is None else GRU.from_torch(plain, **extras),
        Outputs(),
        nn.Linear(3 * HIDDEN, 2, dtype=dtype),
    )


def make_batches(dtype: torch.dtype = torch.float64) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (
            torch.randint(N_WORDS, (5, 7), generator=generator),
            torch.randn(5, 2, generator=generator, dtype=dtype),
        )
        for _ in range(N_STEPS)
    ]


def loss_of(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    words, target = batch
    return nn.functional.mse_loss(model(words).to(target.dtype), target)


def plain_loop(model: nn.Module, optimiser: torch.optim.Optimizer) -> list[Tensor]:
    losses = []
    for batch in make_batches():
        optimiser.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return losses


def loop_with_clipping_and_a_schedule(
    model: nn.Module, optimiser: torch.optim.Optimizer
) -> list[Tensor]:
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, 2, gamma=0.5)
    found = []
    for batch in make_batches():
        optimiser.zero_grad(set_to_none=False)
        loss = loss_of(model, batch)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimiser.step()
        scheduler.step()
        found += [loss.detach(), norm]
    return found


def loop_that_accumulates(model: nn.Module, optimiser: torch.optim.Optimizer) -> list[Tensor]:
    losses = []
    for index, batch in enumerate(make_batches()):
        loss = loss_of(model, batch) / 2
        loss.backward()
        losses.append(loss.detach())
        if index % 2 == 1:
            optimiser.step()
            optimiser.zero_grad()
    return losses


def loop_that_evaluates(model: nn.Module, optimiser: torch.optim.Optimizer) -> list[Tensor]:
    found = []
    for batch in make_batches():
        model.train()
        optimiser.zero_grad()
        loss_of(model, batch).backward()
        optimiser.step()
        model.eval()
        with torch.inference_mode():
            found.append(loss_of(model, batch).clone())
    return found


def loop_with_closures(model: nn.Module, optimiser: torch.optim.Optimizer) -> list[Tensor]:
    losses = []
    for batch in make_batches()[:3]:

        def closure(batch: tuple[Tensor, Tensor] = batch) -> Tensor:
            optimiser.zero_grad()
            loss = loss_of(model, batch)
            loss.backward()
            losses.append(loss.detach())
            return loss

        optimiser.step(closure)
    return losses


LOOPS: dict[str, Loop] = {
    loop.__name__.replace("_", " "): loop
    for loop in (
        plain_loop,
        loop_with_clipping_and_a_schedule,
        loop_that_accumulates,
        loop_that_evaluates,
        loop_with_closures,
    )
}
OPTIMISERS: dict[str, MakeOptimiser] = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "AdamW, foreach": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, foreach=True),
}


@covering(1, loop=LOOPS, optimiser=OPTIMISERS, cut=CUTS)
def test_a_loop_has_the_same_losses_and_ends_with_the_same_weights(
    cut: str, loop: str, optimiser: str
) -> None:
    assert_same_loop(cut, LOOPS[loop], OPTIMISERS[optimiser])


@pytest.mark.parametrize("cut", CUTS)
def test_so_it_has_with_an_optimiser_that_needs_closures(cut: str) -> None:
    def lbfgs(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(parameters, lr=0.5, max_iter=4)

    assert_same_loop(cut, loop_with_closures, lbfgs)


def assert_same_loop(cut: str, loop: Loop, make_optimiser: MakeOptimiser) -> None:
    found = []
    for extras in (CUTS[cut], None):
        model = make_model(extras)
        before = [parameter.detach().clone() for parameter in model.parameters()]
        losses = loop(model, make_optimiser(model.parameters()))
        assert not any(map(torch.equal, before, model.parameters()))
        found.append([*losses, *model.parameters()])

    # What Adam divides by may be as small as rounding errors are.
    assert_same(*found, tolerance=1e-9)


@covering(2, cut=CUTS, has_scaler=[False, True], dropout=[0.0, 0.5])
def test_under_autocast_a_loop_runs_as_with_nn_gru_under_autocast(
    cut: str, has_scaler: bool, dropout: float
) -> None:
    found = []
    for extras in (CUTS[cut], None):
        model = make_model(extras, dtype=torch.float32, dropout=dropout)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=has_scaler)
        losses, types = [], []
        for batch in make_batches(torch.float32)[:3]:
            optimiser.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = model[1](model[0](batch[0]))
                types.append([tensor.dtype for tensor in out])
                loss = loss_of(model, batch)
            scaler.scale(loss).backward()
            scaler.step(optimiser)
            scaler.update()
            losses.append(loss.detach())
        found.append((losses, types, [p.grad.dtype for p in model.parameters()]))

    (losses, types, of_gradients), (expected, _, of_expected) = found
    # On the CPU, those of nn.GRU depend on what h_0 is.
    assert types == [[torch.bfloat16, torch.bfloat16]] * 3
    assert of_gradients == of_expected
    if dropout == 0.0:
        assert_same(losses, expected, tolerance=2**-6)


@pytest.mark.eager
@pytest.mark.parametrize("cut", ["in one piece", "two devices"])
def test_the_casts_of_autocast_do_not_pile_up(cut: str) -> None:
    model = make_model(CUTS[cut], dtype=torch.float32)
    gru = model[1]
    x = make_x(2, 3, WIDTH, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gru(x)
        copies = gru._stack._borrowed[0].leaves
        gru(x)
        # Nothing needs the first call any more, so that its copies do for the second.
        assert gru._stack._borrowed[0].leaves is copies
        y, _ = gru(x)
        gru(x)
        assert gru._stack._borrowed[0].leaves is not copies
        y.float().sum().backward()


@pytest.mark.parametrize("cut", CUTS)
def test_training_under_autocast_may_follow_a_prediction_in_inference_mode(cut: str) -> None:
    gru = make_model(CUTS[cut], dtype=torch.float32)[1]
    x = make_x(2, 3, WIDTH, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.inference_mode():
            gru(x)
        gru(x)[0].float().sum().backward()
    assert all(parameter.grad is not None for parameter in gru.parameters())


@pytest.mark.parametrize("cut", CUTS)
def test_under_autocast_b_of_a_call_reads_the_weights_of_that_call(cut: str) -> None:
    found = []
    for is_changed in (False, True):
        gru = make_model(CUTS[cut], dtype=torch.float32)[1]
        x = make_x(2, 9, WIDTH, dtype=torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = gru(x)[0].float().square().sum()
            with torch.no_grad():
                for weight in gru.parameters():
                    weight.mul_(1.0 + is_changed)
            other = gru(x)[0].float().sum()
        loss.backward()
        found.append((other, [parameter.grad for parameter in gru.parameters()]))

    (other, gradients), (changed, others) = found
    assert not torch.equal(other, changed)
    assert all(map(torch.equal, gradients, others))


@pytest.mark.parametrize("mode", [nullcontext, torch.inference_mode])
def test_a_loop_over_steps_that_hands_the_state_on_equals_nn_gru(mode: Any) -> None:
    found = []
    for extras in (TWO_CPUS, None):
        gru = make_model(extras)[1]
        h: Tensor | None = None
        with mode():
            outputs = []
            for step in make_x(5, 7, WIDTH).split(1, dim=1):
                y, h = gru(step, h)
                outputs.append(y)
        found.append([torch.cat(outputs, dim=1), h])

    assert_same(*found)
