"""precision=bf16-mixed through the pipeline: the stages' threads cast as the caller's would."""

import pytest
import torch
from torch import Tensor

from gru_parallel.training import SeriesModule
from gru_parallel.training.module import Batch
from tests.builders import CUTS_OF_4, MSE, build_model, make_plan
from tests.runs import assert_bit_for_bit, assert_same_run, fit, sgd


class TimeFirstModule(SeriesModule):
    """Lays each batch out in memory as the stages do.

    In bf16 the CPU's matrix products round differently for another layout of the same numbers.
    """

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return super().training_step(time_first(batch), batch_idx)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        super().validation_step(time_first(batch), batch_idx)


def time_first(batch: Batch) -> Batch:
    return batch | {"x": batch["x"].transpose(0, 1).contiguous().transpose(0, 1)}


def test_bf16_mixed_equals_one_device_where_the_batch_is_not_cut(no_thread_left: None) -> None:
    plan = make_plan([1, 2, 1])
    model = build_model(dtype=torch.float32)

    pipelined = fit(plan, precision="bf16-mixed")
    single = fit(None, TimeFirstModule(model, MSE, sgd), precision="bf16-mixed")

    assert_same_run(pipelined, single, 1e-5)
    assert not torch.equal(single.losses, fit(None).losses)


@pytest.mark.parametrize("shape", [(1, 4), (3, 1), (2, 3)], ids=str)
def test_bf16_mixed_stays_within_its_own_rounding_of_one_device(shape: tuple[int, int]) -> None:
    pipelined = fit(make_plan([1, 2, 1], "gpipe", *shape), precision="bf16-mixed")
    single = fit(None, precision="bf16-mixed")

    assert_same_run(pipelined, single, 5e-3)


def test_bf16_mixed_is_bit_for_bit_the_same_for_every_device_map() -> None:
    first, *others = (
        fit(make_plan(cut, "one_f_one_b", 2, 3), precision="bf16-mixed") for cut in CUTS_OF_4
    )

    for other in others:
        assert_bit_for_bit(other, first)
