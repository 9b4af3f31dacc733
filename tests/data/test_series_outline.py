"""What is known of the data before a batch is made of it."""

from typing import Any

import numpy as np
import pytest

from gru_parallel.data import SeriesDataModule, Table, tables_from_arrays
from gru_parallel.data.series_outline import SeriesOutline
from gru_parallel.errors import UsageError

TABLES = tables_from_arrays(np.split(np.arange(400.0)[:, None] % 7, [150, 230]), targets="x0")

CUTS: dict[str, dict[str, Any]] = {
    "shuffled": {},
    "with a stride": {"stride": 5},
    "short windows": {"min_input_length": 2},
    "every step": {"task": "every_step"},
    "streams": {"order": "streams", "stride": 3},
    "streams by series": {"order": "streams", "split": (1, 1, 1), "split_by": "series"},
    "only training": {"split": (1, 0, 0)},
    "streams without validation": {"order": "streams", "stride": 3, "split": (0.9, 0, 0.1)},
    "no test series": {"split": (2, 1, 0), "split_by": "series"},
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("batch_size", [1, 7, 16, 1000])
def test_as_many_batches_are_counted_as_the_loaders_have(cut: str, batch_size: int) -> None:
    how: dict[str, Any] = {
        "input_length": 6,
        "horizon": 2,
        "batch_size": batch_size,
        "centre": "none",
        **CUTS[cut],
    }
    outline, module = SeriesOutline(TABLES, **how), SeriesDataModule(TABLES, **how)

    counted = [outline.n_batches(part) for part in ("training", "validation", "test")]
    loaders = (module.train_dataloader(), module.val_dataloader(), module.test_dataloader())
    assert counted == [len(loader) for loader in loaders]
    assert counted == [len(list(loader)) for loader in loaders]


def test_values_that_are_filled_in_are_counted_by_part() -> None:
    values = np.arange(40.0).reshape(20, 2)
    values[[3, 5, 5, 18], [0, 0, 1, 1]] = np.nan
    how: dict[str, Any] = {"input_length": 2, "horizon": 1, "batch_size": 4, "split": (10, 5, 5)}

    outline = SeriesOutline(Table(None, values, ("a", "b"), ("a",)), **how)

    assert outline.words.splitlines() == [
        "Filled in: 3 of 20 values of the training part, which were missing.",
        "Filled in: 1 of 10 values of the test part, which were missing.",
    ]
    assert SeriesOutline(TABLES, **how).words == ""


def test_series_of_one_name_are_refused_and_those_without_are_numbered() -> None:
    def tables(*names: str) -> list[Table]:
        return [Table(None, np.zeros((40, 1)), ("a",), ("a",), name) for name in names]

    how: dict[str, Any] = {"input_length": 4, "horizon": 2, "batch_size": 8}
    outline = SeriesOutline(tables("", ""), **how)
    assert [table.name for table in outline.tables] == ["0", "1"]
    with pytest.raises(UsageError, match="2 of the 2 series have the name 'x'"):
        SeriesOutline(tables("x", "x"), **how)
