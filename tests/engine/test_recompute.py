"""With recompute=cell B runs F again: the same bits, and of a cell no more kept than its input."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from gru_parallel.engine import graphs
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import DropoutKey, GRUBlock, StackModel, WindowHead, Windows
from gru_parallel.model.ragged import BatchSizes
from gru_parallel.stage import recomputation
from gru_parallel.stage.recomputation import Kept
from gru_parallel.stage.stage_pass import StagePass
from tests.builders import HIDDEN, MSE, WIDTH, build_model, make_batch, make_plan

pytestmark = pytest.mark.usefixtures("no_thread_left", "little_to_collect")


class NoisyBlock(GRUBlock):
    """Draws from torch's generator, as a block of the caller's own may."""

    stepwise = True

    def forward(
        self,
        x: Tensor,
        h_0: Tensor,
        key: DropoutKey | None = None,
        batch_sizes: BatchSizes | None = None,
    ) -> tuple[Tensor, Tensor]:
        y, h_n = super().forward(x, h_0, key, batch_sizes)
        return y * torch.rand_like(y), h_n


def with_noise() -> StackModel:
    model = build_model()
    model.gru.blocks[0] = NoisyBlock(WIDTH, HIDDEN, last=False, dtype=torch.float64)
    return model


def with_random_head() -> StackModel:
    """A head that draws, as one may that runs uncut."""
    model = build_model()
    head = model.head
    assert isinstance(head, WindowHead)
    head.linear = nn.Sequential(nn.Dropout(0.5), head.linear)
    return model


def train(
    recompute: str,
    make_model: Callable[[], StackModel],
    plan: dict[str, Any],
    batch: dict[str, Any],
    *,
    is_cast: bool = False,
) -> list[Tensor | None]:
    """Train two steps, of which the gradients add up; return all that comes out."""
    model = make_model()
    weight = model.encoder.weight
    x, y = make_batch(every_step=model.head.every_step)
    x, y = x.to(weight), y.to(weight)
    x.requires_grad_()
    found = []
    asked = torch.autocast("cpu", torch.bfloat16) if is_cast else nullcontext()
    torch.manual_seed(3)
    with ThreadEngine(model, make_plan(**plan, recompute=recompute), MSE, seed=5) as engine:
        for step in range(2):
            with asked:
                loss = engine.train_step(Windows(x, y, **batch), step)
            loss.backward()
            found.append(loss.detach())
        found += engine.carried.values()
    grads = [tensor.grad for tensor in (x, *batch.values(), *model.parameters())]
    return [*found, *grads, torch.get_rng_state()]


CUT: dict[str, Any] = {"blocks_of_stages": [2, 2], "n_micro_batches": 2, "n_chunks": 3}
ONE_STAGE: dict[str, Any] = {"blocks_of_stages": [4], "n_chunks": 3}
MODELS: dict[str, Callable[[], StackModel]] = {
    "dropout": lambda: build_model(dropout=0.3),
    "every step": lambda: build_model(dropout=0.3, every_step=True),
    "all layers in a block": lambda: build_model(4, 4, h_0="learned"),
    "starts": lambda: build_model(h_0=["learned", "given", "carry", "zeros"]),
    "previous": lambda: build_model(h_0=["given", "previous", "learned", "previous"]),
    "both ways": lambda: build_model(bidirectional=True, dropout=0.3, h_0="learned"),
    "both ways in the middle": lambda: build_model(
        bidirectional=[False, True, False, False], every_step=True
    ),
    "residuals and norms": lambda: build_model(residual=True, norm="layer", dropout=0.3),
    "noise": with_noise,
    "a head that draws": with_random_head,
}
RAGGED = {"lengths": torch.tensor([7, 2, 5, 7, 1])}


@pytest.mark.parametrize(
    ("model", "plan", "batch"),
    [
        ("dropout", CUT, {}),
        ("dropout", CUT | {"schedule": "gpipe"}, RAGGED),
        ("every step", CUT | {"truncate": 1}, {}),
        ("dropout", CUT | {"schedule": "zero_bubble"}, RAGGED),
        ("both ways in the middle", CUT | {"schedule": "zero_bubble"}, {}),
        ("every step", ONE_STAGE | {"schedule": "naive"}, RAGGED),
        ("all layers in a block", {"blocks_of_stages": [1], "layers_per_block": 4}, {}),
        ("starts", CUT, {"h_0": True}),
        ("starts", CUT | {"truncate": 2, "schedule": "gpipe"}, RAGGED),
        ("previous", CUT, RAGGED | {"h_0": True}),
        ("previous", ONE_STAGE, {}),
        ("both ways", CUT, RAGGED),
        ("both ways", CUT | {"devices": ["cpu:0+cpu:1", "cpu:2"]}, {}),
        ("both ways in the middle", ONE_STAGE | {"n_micro_batches": 2}, RAGGED),
        ("residuals and norms", CUT | {"schedule": "zero_bubble"}, RAGGED),
        ("noise", ONE_STAGE, {}),
        ("a head that draws", ONE_STAGE, {}),
    ],
)
def test_a_step_has_the_bits_of_one_that_keeps_all(
    model: str, plan: dict[str, Any], batch: dict[str, Any]
) -> None:
    results = []
    for recompute in ("none", "cell"):
        own = dict(batch)
        if own.get("h_0"):
            h_0 = torch.linspace(-1.0, 1.0, 4 * 5 * HIDDEN, dtype=torch.float64)
            own["h_0"] = h_0.reshape(4, 5, HIDDEN).requires_grad_()
        results.append(train(recompute, MODELS[model], plan, own))

    assert_same(*results)


@pytest.mark.parametrize("every_step", [False, True])
def test_so_it_has_under_autocast(every_step: bool) -> None:
    def make_model() -> StackModel:
        return build_model(dtype=torch.float32, dropout=0.3, every_step=every_step)

    none, cell = (train(each, make_model, CUT, {}, is_cast=True) for each in ("none", "cell"))

    assert_same(none, cell)
    # Encoder and head are cast by autocast itself, out of its cache, and have gradients.
    assert all(found is not None for found in cell)


@pytest.mark.parametrize("schedule", [pytest.param("gpipe", marks=pytest.mark.long), "one_f_one_b"])
def test_so_have_calls_that_are_replayed(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "N_EAGER", 1)
    results = []
    for wanted, recompute in ((False, "none"), (True, "cell")):
        model = build_model(dropout=0.3, every_step=True, h_0="learned")
        plan = make_plan([2, 2], schedule, 2, 2, recompute=recompute)
        with ThreadEngine(model, plan, MSE, seed=5, graphs=wanted) as engine:
            found = []
            for step in range(3):
                x, y = make_batch(n_steps=4, every_step=True, seed=step)
                model.zero_grad()
                loss = engine.train_step(Windows(x, y), step)
                loss.backward()
                found += [loss.detach(), *(w.grad for w in model.parameters())]
            assert (engine.why_not_replayed is None) == wanted
        results.append(found)

    assert_same(*results)


def test_blocks_that_may_draw_are_not_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "N_EAGER", 0)
    x, y = make_batch()
    plan = make_plan([4], n_chunks=2, recompute="cell")
    with ThreadEngine(with_noise(), plan, MSE, graphs=True) as engine:
        engine.train_step(Windows(x, y))

        assert engine.why_not_replayed is not None
        assert engine.why_not_replayed.startswith("NoisyBlock may draw random numbers")


class Alive:
    """What is kept for B: at most by autograd, in bytes; numbers, by all cells, to run F again."""

    def __init__(self, weights: set[int]) -> None:
        self.peak_saved = self.n_kept = 0
        self._weights = weights
        self._saved: dict[int, Tensor] = {}
        self._kept: dict[int, list[Tensor]] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        def counted(run: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(*args: Any) -> Any:
                with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda own: own.tensor):
                    return run(*args)

            return wrapper

        with (
            patch.object(StagePass, "forward", counted(StagePass.forward)),
            patch.object(StagePass, "backward", counted(StagePass.backward)),
            patch.object(recomputation, "Kept", self._keep),
        ):
            yield

    def _pack(self, tensor: Tensor) -> "Saved":
        return Saved(self, tensor)

    def _keep(self, *fields: Any) -> Kept:
        kept = Kept(*fields)
        self.n_kept += sum(tensor.numel() for tensor in (kept.parcel.tensor, *kept.state))
        return kept

    def add(self, tensor: Tensor) -> None:
        self._saved[id(tensor)] = tensor
        storages = {t.untyped_storage().data_ptr(): t for t in self._saved.values()}
        alive = (t for at, t in storages.items() if at not in self._weights)
        self.peak_saved = max(
            self.peak_saved, sum(each.untyped_storage().nbytes() for each in alive)
        )

    def drop(self, tensor: Tensor) -> None:
        del self._saved[id(tensor)]


class Saved:
    def __init__(self, alive: Alive, tensor: Tensor) -> None:
        self.alive, self.tensor = alive, tensor.detach()
        alive.add(self.tensor)

    def __del__(self) -> None:
        self.alive.drop(self.tensor)


def bytes_of(recompute: str, n_chunks: int) -> Alive:
    """Measure a step of 10 time steps a chunk on one stage, so in one thread."""
    model = build_model(every_step=True)
    alive = Alive({weight.untyped_storage().data_ptr() for weight in model.parameters()})
    x, y = make_batch(n_steps=10 * n_chunks, every_step=True)
    plan = make_plan([4], "gpipe", 1, n_chunks, recompute=recompute)
    with ThreadEngine(model, plan, MSE) as engine, alive.watched():
        engine.train_step(Windows(x, y)).backward()
    return alive


def test_the_activations_of_one_cell_are_alive_at_once() -> None:
    one_cell = bytes_of("none", 1).peak_saved

    assert bytes_of("none", 8).peak_saved > 7 * one_cell
    # With the inputs of cells that lie side by side.
    assert bytes_of("cell", 8).peak_saved <= 1.5 * one_cell


def test_kept_of_a_cell_are_its_inputs_and_the_state_that_entered() -> None:
    one_more = bytes_of("cell", 4).n_kept - bytes_of("cell", 3).n_kept

    # 3 channels of 5 rows and 10 steps, and 4 states of 8 units.
    assert one_more == 10 * 5 * 3 + 4 * 5 * HIDDEN


def assert_same(left: list[Tensor | None], right: list[Tensor | None]) -> None:
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        if one is None or other is None:
            assert one is other
        else:
            assert torch.equal(one, other)
