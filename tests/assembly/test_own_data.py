"""Data that a run no longer has is refused, with what may have come between."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from gru_parallel.assembly.own_data import check_unchanged
from gru_parallel.data import SeriesDataModule, Table
from gru_parallel.errors import UsageError

SPLIT = (0.7, 0.1, 0.2)


def table(values: np.ndarray) -> Table:
    return Table(None, values[:, None], ("a",), ("a",))


def run_on(values: np.ndarray) -> Any:
    how: dict[str, Any] = {"input_length": 3, "horizon": 1, "batch_size": 4, "split": SPLIT}
    return SimpleNamespace(
        record=SeriesDataModule(table(values), **how).record,
        config=SimpleNamespace(data=SimpleNamespace(split=SPLIT, split_by="time")),
        folder=SimpleNamespace(path=Path("RUN")),
        other_data="data.path=...",
        gives=lambda name: name == "",
    )


@pytest.mark.parametrize("has_gaps", [False, True])
def test_of_gaps_it_says_that_an_earlier_version_may_have_filled_them_otherwise(
    has_gaps: bool,
) -> None:
    filled = np.arange(60.0)
    now = np.where(np.arange(60) % 7 == 3, np.nan if has_gaps else 0.0, filled)

    check_unchanged(cast("Any", run_on(now)), [table(now)])
    with pytest.raises(UsageError, match=r"no longer that of run=RUN, .*; restore it") as refused:
        check_unchanged(cast("Any", run_on(filled)), [table(now)])

    assert ("a version that filled gaps" in str(refused.value)) == has_gaps
