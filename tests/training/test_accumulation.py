"""A number of batches to accumulate over that changes from epoch to epoch."""

from typing import Any

import pytest
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR

from gru_parallel.errors import UsageError
from tests.builders import make_plan
from tests.runs import fit, make_module

PLAN = make_plan([2, 2], n_chunks=2)


def cosine(optimizer: Optimizer, n_steps: int) -> CosineAnnealingLR:
    return CosineAnnealingLR(optimizer, T_max=n_steps)


def halved(optimizer: Optimizer, n_steps: int) -> ExponentialLR:
    return ExponentialLR(optimizer, gamma=0.5)


@pytest.mark.parametrize("plan", [None, PLAN], ids=["one device", "pipeline"])
def test_a_schedule_of_the_steps_of_the_run_is_refused(plan: Any, no_thread_left: None) -> None:
    module = make_module(make_scheduler=cosine)

    with pytest.raises(UsageError, match="GradientAccumulationScheduler changes their number"):
        fit(plan, module, callbacks=[GradientAccumulationScheduler({0: 4})])


def test_a_run_that_ends_after_so_many_steps_has_their_schedule() -> None:
    module = make_module(make_scheduler=cosine)
    scheduled = GradientAccumulationScheduler({0: 4})

    run = fit(PLAN, module, callbacks=[scheduled], max_epochs=-1, max_steps=4)

    assert run.trainer.global_step == 4
    assert run.rates[-1] == pytest.approx(0.0, abs=1e-6)


def test_a_schedule_of_epochs_is_not() -> None:
    module = make_module(make_scheduler=halved, schedule_interval="epoch")

    run = fit(PLAN, module, callbacks=[GradientAccumulationScheduler({0: 4})])

    assert run.trainer.global_step == 4
    assert run.rates == [0.5] * 4 + [0.25] * 5 + [0.125]
