from typing import Any

import pytest

from gru_parallel.errors import UsageError
from gru_parallel.placement import Grid
from gru_parallel.placement.grid import check_chunks


def test_the_last_block_may_hold_fewer_layers() -> None:
    assert [Grid(2).n_blocks(num_layers) for num_layers in (1, 2, 3, 4, 5)] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    "setting",
    [
        "model.layers_per_block",
        "schedule.n_micro_batches",
        "schedule.n_chunks",
        "schedule.truncate",
    ],
)
def test_a_size_that_is_not_positive_is_refused(setting: str) -> None:
    sizes: dict[str, Any] = {setting.partition(".")[2]: 0}
    with pytest.raises(UsageError, match=f"^{setting}=0 is not a size; use a whole number"):
        Grid(**sizes)


def test_a_grid_without_a_schedule_is_refused() -> None:
    with pytest.raises(UsageError, match="names no schedule"):
        Grid(schedule="")


def test_a_recomputation_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        Grid(recompute="all")
    assert str(caught.value) == (
        "schedule.recompute=all is not a valid choice; use one of none, cell."
    )


def test_a_sequence_has_at_least_as_many_steps_as_chunks() -> None:
    check_chunks(4, 4)
    with pytest.raises(UsageError) as caught:
        check_chunks(5, 4)
    assert str(caught.value) == (
        "schedule.n_chunks=5 exceeds the 4 time steps of the sequence; use schedule.n_chunks <= 4."
    )
