from typing import Any

import pytest

from gru_parallel.errors import UsageError
from gru_parallel.placement import Grid


def test_the_last_block_may_hold_fewer_layers() -> None:
    assert [Grid(2).n_blocks(num_layers) for num_layers in (1, 2, 3, 4, 5)] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("size", [0, -3])
@pytest.mark.parametrize(
    "setting",
    [
        "model.layers_per_block",
        "schedule.n_micro_batches",
        "schedule.n_chunks",
        "schedule.truncate",
    ],
)
def test_a_size_that_is_not_positive_is_refused(setting: str, size: int) -> None:
    sizes: dict[str, Any] = {setting.partition(".")[2]: size}
    with pytest.raises(UsageError, match=f"^{setting}={size} is not positive; use {setting} >= 1"):
        Grid(**sizes)


@pytest.mark.parametrize("size", [2.0, True, "2", None])
def test_a_size_that_is_not_a_whole_number_is_refused(size: object) -> None:
    sizes: dict[str, Any] = {"n_chunks": size}
    with pytest.raises(UsageError, match=r"^schedule.n_chunks=.* is not a whole number"):
        Grid(**sizes)


def test_a_grid_without_a_schedule_is_refused() -> None:
    with pytest.raises(UsageError, match="names no schedule"):
        Grid(schedule="")
