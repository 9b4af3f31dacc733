"""How much each row counts in the loss: read, scaled to a mean of 1, and given to windows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gru_parallel.data import SeriesDataModule, SeriesFile, Table, load_tables
from gru_parallel.errors import UsageError

Write = Callable[..., Path]
OPTIONS: dict[str, Any] = {"input_length": 4, "horizon": 2, "batch_size": 8}


def table(weight: np.ndarray | None) -> Table:
    values = np.random.default_rng(0).normal(size=(60, 2))
    return Table(None, values, ("a", "b"), ("b",), weight=weight)


def test_a_window_has_the_weights_of_its_target_rows_with_mean_1_in_training() -> None:
    weight = np.arange(60.0)
    data = SeriesDataModule(table(weight), **OPTIONS)
    # The training part is the first 42 rows.
    scaled = torch.tensor(weight / weight[:42].mean()).float()

    training, validation = (data.dataset(part) for part in ("training", "validation"))

    assert torch.equal(training[3]["weight"], scaled[7:9])
    assert torch.equal(validation[0]["weight"], scaled[42:44])
    assert "weight" not in data.dataset("test")[0]
    each = SeriesDataModule(table(weight), task="every_step", centre="none", **OPTIONS)
    assert torch.equal(each.dataset("training")[3]["weight"], scaled[5:9])


@pytest.mark.parametrize("value", [1.0, 0.3, 7.0])
def test_weights_that_are_all_alike_are_no_weights(value: float) -> None:
    data = SeriesDataModule(table(np.full(60, value)), **OPTIONS)
    assert "weight" not in data.dataset("training")[0]


def test_a_column_of_weights_is_no_value_and_rows_that_are_inserted_count_0(write: Write) -> None:
    rows = [f"2024-01-01T{h:02},{h * 7 % 5},{h + 1}" for h in range(12) if h != 6]
    path = write("\n".join(["date,a,w", *rows]))
    file = SeriesFile(path, weight="w", frequency="1h", missing="interpolate")

    (found,) = load_tables(file)

    assert found.columns == ("a",)
    assert found.weight is not None
    assert found.weight.tolist() == [1, 2, 3, 4, 5, 6, 0, 8, 9, 10, 11, 12]


def test_rows_are_left_out_for_their_values_alone(write: Write) -> None:
    path = write("a,w\n1,1\n,2\n3,3\n2,4\n")

    (found,) = load_tables(SeriesFile(path, weight="w", missing="drop"))

    assert found.weight is not None
    assert found.weight.tolist() == [1, 3, 4]


@pytest.mark.parametrize(
    ("cell", "options", "words"),
    [
        ("-1", {}, "row 4, column 'w' is -1, and how much a row counts"),
        ("", {}, "row 4, column 'w' is empty"),
        ("", {"missing": "interpolate"}, "row 4, column 'w' is empty"),
        ("", {"missing": "drop"}, "row 4, column 'w' is empty"),
        ("2", {"weight": "v"}, "data.weight=v is not a column"),
        ("2", {"targets": "w"}, "data.target and data.weight both name 'w'"),
    ],
)
def test_what_is_no_weight_is_refused(
    cell: str, options: dict[str, Any], words: str, write: Write
) -> None:
    rows = [f"{row * 7 % 5},{cell if row == 2 else row + 1}" for row in range(9)]
    path = write("\n".join(["a,w", *rows]))
    with pytest.raises(UsageError) as caught:
        load_tables(SeriesFile(path, **{"weight": "w", **options}))
    assert words in str(caught.value)


def test_a_part_that_counts_nothing_is_refused() -> None:
    weight = np.zeros(60)
    weight[50:] = 1.0
    with pytest.raises(UsageError, match=r"data\.weight is 0 in all rows of the training part"):
        SeriesDataModule(table(weight), **OPTIONS)
    weight = np.ones(60)
    # The first 4 rows are never forecast; 42 to 47 are the validation part.
    for zero, part in ((slice(4, 42), "training"), (slice(42, 48), "validation")):
        some = weight.copy()
        some[zero] = 0.0
        with pytest.raises(UsageError, match=f"0 in all rows that the {part} part forecasts"):
            SeriesDataModule(table(some), **OPTIONS)
        some[zero.stop - 1] = 0.1
        for options in ({}, {"task": "every_step", "centre": "none"}):
            SeriesDataModule(table(some), **OPTIONS, **options)
    with pytest.raises(UsageError, match="weight has the shape"):
        table(np.ones(59))
    one, other = replace(table(np.arange(60.0)), name="x"), replace(table(None), name="y")
    with pytest.raises(UsageError, match="1 of 2 series have weights"):
        SeriesDataModule([one, other], **OPTIONS)
