"""Lightning's own ways to use a trained module: load, predict, test, copies, averages."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gru_parallel import GRU, Plan, Windows
from gru_parallel.errors import UsageError
from gru_parallel.model import StackModel
from gru_parallel.training import SeriesModule
from tests.builders import MSE, make_batch, make_plan
from tests.runs import SaveAfter, fit, make_data, make_module, make_trainer, sgd

PLAN = make_plan([1, 2, 1], n_micro_batches=2, n_chunks=3)


class Own(pl.LightningModule):
    """A user's module around a model of this library."""

    def __init__(self, model: StackModel) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self.model(batch["x"]), batch["y"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        return None

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        worst = (self.model(batch["x"]) - batch["y"]).abs().max()
        self.log("test/worst", worst, reduce_fx="max")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return sgd(self.parameters())


class OwnTest(SeriesModule):
    """A module of this library with another test."""

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        prediction = self.engine.predict(Windows(batch["x"]))
        self.log("test/worst", (prediction - batch["y"]).abs().max(), reduce_fx="max")
        return prediction


@pytest.mark.parametrize("plan", [None, PLAN])
def test_a_module_of_ones_own_is_tested_on_our_data(
    plan: Plan | None, no_thread_left: None
) -> None:
    model = make_module().model
    (expected,) = make_trainer(None).test(Own(model), make_data(), verbose=False)

    module = OwnTest(model, MSE, sgd)
    (found,) = make_trainer(plan).test(module, make_data(), verbose=False)

    assert found.keys() == {"test/worst"}
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("plan", [None, PLAN])
def test_a_module_that_was_validated_trains_as_any_other(
    plan: Plan | None, no_thread_left: None
) -> None:
    losses = []
    for is_validated in (False, True):
        module, trainer = make_module(), make_trainer(plan, max_epochs=1, num_sanity_val_steps=1)
        if is_validated:
            make_trainer(plan).validate(module, make_data(), verbose=False)
        trainer.fit(module, make_data())
        losses.append(trainer.callback_metrics["val/loss"])

    assert torch.equal(*losses)


def write_another_module(path: Path) -> None:
    fit(None, Own(make_module().model), callbacks=[SaveAfter(1, path)], max_steps=1)


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nothing": (lambda _: None, r"a\.ckpt is not (a file|there)"),
    "weights alone": (
        lambda path: torch.save(make_module().state_dict(), path),
        r"a\.ckpt is .*not a checkpoint of a run",
    ),
    "half a file": (
        lambda path: path.write_bytes(b"PK\x03\x04 and no more"),
        r"a\.ckpt is .*not a checkpoint of a run",
    ),
    "another module": (
        write_another_module,
        r"how to create the module's model: .+ or it was written by another module",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_loaded_is_refused_with_what_is_missing(kind: str, tmp_path: Path) -> None:
    write, message = WRONG[kind]
    write(tmp_path / "a.ckpt")

    with pytest.raises(UsageError, match=message):
        SeriesModule.load_from_checkpoint(tmp_path / "a.ckpt")


def test_weights_that_another_model_lacks_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    fit(None, callbacks=[SaveAfter(1, path)], max_steps=1)

    with pytest.raises(RuntimeError, match=r"Missing key\(s\).+gru\.blocks\.4\.parts\.0\.weight_i"):
        SeriesModule.load_from_checkpoint(path, model=make_module(num_layers=5).model)


MADE_OF_OTHERS: dict[str, Callable[[nn.GRU], Any]] = {
    "plain": lambda _: None,
    "parametrized": lambda gru: weight_norm(gru, "weight_hh_l0"),
    "pruned": lambda gru: prune.random_unstructured(gru, "weight_hh_l0", 0.5),
}


def assert_copies_compute_the_same(module: nn.Module, run: Callable[[Any], Tensor]) -> None:
    """Copy a module after a forward with gradients."""
    expected = run(module)
    expected.sum().backward()

    twin = copy.deepcopy(module)
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    average.update_parameters(module)

    for copied in (twin, average.module):
        assert torch.equal(run(copied), expected)
    with torch.no_grad():
        for weight in twin.parameters():
            weight.zero_()
    assert not torch.equal(run(twin), expected)
    assert torch.equal(run(module), expected)


@pytest.mark.parametrize("core", ["native", "fused"])
@pytest.mark.parametrize("kind", MADE_OF_OTHERS)
def test_a_model_is_copied_after_a_forward_with_gradients(core: str, kind: str) -> None:
    model = make_module().model
    for block in model.gru.gru_blocks:
        block.core = core
        MADE_OF_OTHERS[kind](block.gru_parts[0])
    x, _ = make_batch(dtype=torch.float32)

    assert_copies_compute_the_same(model, lambda model: model(x))


@pytest.mark.parametrize("kind", MADE_OF_OTHERS)
def test_the_drop_in_is_copied_after_a_forward_with_gradients(kind: str) -> None:
    gru = GRU(3, 4, 2, device_map=["cpu:0", "cpu:1"])
    MADE_OF_OTHERS[kind](gru)
    x, _ = make_batch(dtype=torch.float32)

    assert_copies_compute_the_same(gru, lambda gru: gru(x)[0])


class Copies(pl.Callback):
    """Copies the module in the middle of a run, as callbacks do that keep the best model."""

    def __init__(self) -> None:
        self.copies: list[Any] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *rest: Any) -> None:
        self.copies = [copy.deepcopy(pl_module), copy.deepcopy(pl_module.model)]


@pytest.mark.parametrize("plan", [None, PLAN])
def test_a_module_is_copied_in_the_middle_of_a_run(plan: Plan | None, no_thread_left: None) -> None:
    copies = Copies()

    run = fit(plan, callbacks=[copies], max_epochs=1)

    module, model = copies.copies
    x, _ = make_batch(dtype=torch.float32)
    assert isinstance(run.module, SeriesModule)
    expected = run.module.model(x)
    assert torch.equal(model(x), expected)
    assert torch.equal(module.engine.predict(Windows(x)), expected)
    (found,) = make_trainer(None).test(module, make_data(), verbose=False)
    assert found == make_trainer(None).test(run.module, make_data(), verbose=False)[0]


def test_an_average_of_weights_is_that_of_a_single_device(no_thread_left: None) -> None:
    alone, pipelined = (
        fit(
            plan,
            callbacks=[WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(0.8))],
            max_epochs=1,
        ).weights
        for plan in (None, PLAN)
    )

    # It puts the averages into the module when training ends.
    assert all(torch.allclose(alone[name], pipelined[name], atol=1e-6) for name in alone)
    last = fit(None, max_epochs=1).weights
    assert any(not torch.allclose(alone[name], last[name], atol=1e-3) for name in alone)
