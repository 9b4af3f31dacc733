"""Whole training runs are the same to the last bit wherever the blocks live."""

from functools import cache, partial
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from gru_parallel.schedule import SCHEDULES
from tests.builders import CUTS_OF_4, make_plan
from tests.engine.patches import failing_forward
from tests.grids import covering
from tests.runs import (
    Run,
    adamw,
    assert_bit_for_bit,
    fit,
    make_data,
    make_module,
    make_trainer,
    weights_of,
)

EVERYTHING_ON: dict[str, Any] = {
    "gradient_clip_val": 0.1,
    "accumulate_grad_batches": 2,
    "max_epochs": 1,
}


def cosine(optimizer: Any, n_steps: int) -> Any:
    return CosineAnnealingLR(optimizer, T_max=n_steps)


def train(cut: list[int], schedule: str = "one_f_one_b", grid: tuple[int, int] = (2, 2)) -> Run:
    module = make_module(adamw, dropout=0.3, make_scheduler=cosine)
    return fit(make_plan(cut, schedule, *grid), module, **EVERYTHING_ON)


uncut_run = cache(partial(train, [4]))


@covering(1, schedule=SCHEDULES, cut=CUTS_OF_4[1:])
def test_a_run_is_bit_for_bit_the_same_for_every_device_map(
    schedule: str, cut: list[int], no_thread_left: None
) -> None:
    first, other = uncut_run(schedule), train(cut, schedule)

    assert_bit_for_bit(other, first)
    assert other.validation == first.validation


# The last batch of an epoch holds 6 windows: fewer than the 8 micro-batches.
@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (8, 2)], ids=str)
def test_a_run_is_bit_for_bit_the_same_however_the_batch_is_cut(grid: tuple[int, int]) -> None:
    assert_bit_for_bit(train([1, 2, 1], grid=grid), uncut_run(grid=grid))


def test_several_stages_on_one_device_give_the_same_run() -> None:
    devices = ["cpu:0", "cpu:0", "cpu:1"]
    plan = make_plan([1, 2, 1], n_micro_batches=2, n_chunks=2, devices=devices)

    run = fit(plan, make_module(adamw, dropout=0.3, make_scheduler=cosine), **EVERYTHING_ON)

    assert_bit_for_bit(run, uncut_run("one_f_one_b"))


def test_dropout_reaches_the_losses() -> None:
    """Keeps the tests above honest: what they compare does depend on the random numbers."""
    with_dropout = uncut_run("one_f_one_b")
    other_seed = fit(
        make_plan([2, 2], n_micro_batches=2, n_chunks=3),
        make_module(adamw, dropout=0.3, make_scheduler=cosine, seed=1),
        **EVERYTHING_ON,
    )

    assert not torch.equal(with_dropout.losses, other_seed.losses)
    assert not torch.equal(with_dropout.losses, uncut_run(grid=(1, 1)).losses)


def test_dropout_without_a_cut_equals_one_device() -> None:
    module = make_module(dropout=0.3)
    pipelined = fit(make_plan([1, 3]), module, max_epochs=1)
    single = fit(None, make_module(dropout=0.3), max_epochs=1)

    assert float((pipelined.losses - single.losses).abs().max()) <= 1e-5
    assert not torch.equal(single.losses, fit(None, max_epochs=1).losses)


def test_the_same_trainer_fits_twice_and_leaves_no_thread(no_thread_left: None) -> None:
    trainer = make_trainer(make_plan([2, 2]), max_epochs=1)
    runs = []
    for _ in range(2):
        module = make_module()
        trainer.fit_loop.epoch_progress.reset()
        trainer.fit(module, make_data())
        runs.append(weights_of(module))

    assert runs[0].keys() == runs[1].keys()
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_a_module_trained_once_trains_on_with_another_trainer_and_placement(
    no_thread_left: None,
) -> None:
    module, single = make_module(), make_module()

    for plan in (make_plan([1, 3]), make_plan([2, 2], "gpipe", 2, 2), None):
        pipelined_run, single_run = (
            fit(each, trained, max_epochs=1) for each, trained in ((plan, module), (None, single))
        )

    for name, weight in single_run.weights.items():
        assert float((pipelined_run.weights[name] - weight).abs().max()) <= 1e-4, name
    assert not torch.equal(single_run.losses, fit(None, max_epochs=1).losses)


def test_a_failing_step_ends_the_fit_with_its_place_named_and_no_thread_left(
    no_thread_left: None,
) -> None:
    module = make_module()
    failing = failing_forward(module.model, 2, (0, 0), KeyError("a failing block"))

    with failing, pytest.raises(KeyError, match="a failing block") as error:
        fit(make_plan([2, 2], n_micro_batches=2, n_chunks=3), module)

    notes = " ".join(error.value.__notes__)
    assert "stage 1 on cpu:1 ran 1F0.0 (micro-batch 0, chunk 0)" in notes
