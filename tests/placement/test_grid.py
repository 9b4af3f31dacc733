from typing import Any

import pytest

from gru_parallel.errors import UsageError
from gru_parallel.placement import Grid


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
