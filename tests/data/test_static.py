"""What describes a series: read once for all of its rows, and turned into numbers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gru_parallel.data import SeriesDataModule, SeriesFile, Table, load_tables
from gru_parallel.data.record import DataRecord
from gru_parallel.errors import UsageError

Write = Callable[..., Path]

LONG = "id,a,size,region\n" + "".join(
    f"{name},{row * 7 % 5},{size},{region}\n"
    for name, size, region in (("x", 2, "north"), ("y", 4, " south"), ("z", 12, "north"))
    for row in range(9)
)
OPTIONS: dict[str, Any] = {"input_length": 4, "horizon": 2, "batch_size": 8, "split_by": "series"}


def read(path: Path, **options: Any) -> list[Table]:
    return load_tables(SeriesFile(path, series_column="id", static=["size", "region"], **options))


def test_numbers_are_standardised_over_the_series_and_words_become_categories(
    write: Write,
) -> None:
    tables = read(write(LONG))
    assert tables[0].columns == ("a",)
    assert [dict(table.static) for table in tables] == [
        {"size": 2.0, "region": "north"},
        {"size": 4.0, "region": "south"},
        {"size": 12.0, "region": "north"},
    ]

    # The first two are for training: their mean is 3, and their deviation 1.
    data = SeriesDataModule(tables, split=[2, 1, 0], **OPTIONS)

    assert (data.widths.n_channels, data.widths.n_static) == (1, 3)
    training, validation = (data.dataset(part) for part in ("training", "validation"))
    batch = training.__getitems__(range(len(training)))
    n = len(training) // 2
    assert torch.equal(batch["static"], torch.tensor([[-1.0, 1, 0]] * n + [[1.0, 0, 1]] * n))
    assert validation[0]["static"].tolist() == [9.0, 1.0, 0.0]
    record = DataRecord.from_state(data.record.state())
    assert record == data.record
    assert record.widths == data.widths
    again = SeriesDataModule(tables[2:], split=[1, 0, 0], static=record.static, **OPTIONS)
    assert again.dataset("training")[0]["static"].tolist() == [9.0, 1.0, 0.0]


def test_a_series_that_is_in_no_part_may_hold_any_word(write: Write) -> None:
    x, y, z = read(write(LONG.replace("12,north", "12,west")))

    data = SeriesDataModule([x, y, z], split=[2, 0, 0], **OPTIONS)

    assert [column.categories for column in data.static] == [(), ("north", "south")]
    data.describe_by(data.static)


def test_a_category_that_training_does_not_have_is_refused(write: Write) -> None:
    x, y, z = read(write(LONG.replace("12,north", "12,west")))
    with pytest.raises(UsageError) as caught:
        SeriesDataModule([x, y, z], split=[2, 1, 0], **OPTIONS)
    for words in ("series 'z': column 'region' (data.static) holds 'west'", "only north, south;"):
        assert words in str(caught.value)
    x = replace(x, static={"size": "big", "region": "north"})
    numbers = SeriesDataModule([y, z], split=[2, 0, 0], **OPTIONS).static
    with pytest.raises(UsageError, match=r"'size' .* holds 'big'.* there is only numbers"):
        SeriesDataModule(x, split=[1, 0, 0], static=numbers, **OPTIONS)


def test_series_that_are_all_alike_have_zeros(write: Write) -> None:
    x, y, _ = read(write(LONG))
    y = replace(y, static=x.static)
    data = SeriesDataModule([x, y], split=[2, 0, 0], **OPTIONS)
    assert data.dataset("training")[0]["static"].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("y,4,4,", "y,4,5,", ["series 'y': column 'size' holds 4 in row 11, and 5 in row 13"]),
        ("z,1,12,north", "z,1,12,south", ["series 'z': column 'region'", "and south in row 23"]),
    ],
)
def test_what_is_not_the_same_in_all_rows_is_refused(
    old: str, new: str, words: list[str], write: Write
) -> None:
    with pytest.raises(UsageError) as caught:
        read(write(LONG.replace(old, new)))
    assert all(fragment in str(caught.value) for fragment in words), str(caught.value)


def test_empty_cells_count_for_nothing_unless_all_are_empty(write: Write) -> None:
    x, *_ = read(write(LONG.replace("x,2,2,north", "x,2,,")))
    assert dict(x.static) == {"size": 2.0, "region": "north"}
    with pytest.raises(UsageError, match=r"series 'z': column 'region' \(data.static\) is empty"):
        read(write(LONG.replace("12,north", "12,")))


def test_one_series_needs_no_description(write: Write) -> None:
    with pytest.raises(UsageError, match=r"data.static=\[size\] tells series apart"):
        load_tables(SeriesFile(write(LONG), static=["size"]))


def test_na_is_a_word_among_words_and_missing_among_numbers(write: Write) -> None:
    x, y, z = read(write(LONG.replace("12,north", "12,NA")))
    assert z.static["region"] == "NA"
    data = SeriesDataModule([x, y, z], split=[3, 0, 0], **OPTIONS)
    assert data.static[1].categories == ("NA", "north", "south")
    # Where another row tells, it counts for nothing, as an empty cell.
    assert read(write(LONG.replace("z,1,12,north", "z,1,NA,null")))[2].static == z.static | {
        "region": "north"
    }
    numbers = read(write(LONG.replace("12,north", "NA,north")))
    with pytest.raises(UsageError, match=r"'z': column 'size' .* holds 'NA', .* only numbers"):
        SeriesDataModule(numbers, split=[3, 0, 0], **OPTIONS)


def test_numbers_are_compared_as_numbers_and_words_by_all_their_digits(write: Write) -> None:
    assert read(write(LONG.replace("z,1,12,", "z,1,12.0,")))[2].static["size"] == 12
    x, y, z = read(write(LONG))
    described = [
        replace(table, static={"region": region})
        for table, region in zip((x, y, z), (12345671.0, 12345672.0, "A7"), strict=True)
    ]
    (column,) = SeriesDataModule(described, split=[3, 0, 0], **OPTIONS).static
    assert column.categories == ("12345671", "12345672", "A7")


@pytest.mark.parametrize("code", ["1_1", "1E3", "12e4"])
def test_a_code_that_python_reads_as_a_number_is_a_word(code: str, write: Write) -> None:
    assert read(write(LONG.replace("12,north", f"{code},north")))[2].static["size"] == code


@pytest.mark.parametrize("number", ["1e+03", "1.0E3", "1000"])
def test_numbers_as_programs_write_them_are_numbers(number: str, write: Write) -> None:
    assert read(write(LONG.replace("12,north", f"{number},north")))[2].static["size"] == 1000


def test_an_unknown_word_is_said_to_be_in_its_file(write: Write) -> None:
    path = write(LONG.replace("12,north", "12,west"))
    with pytest.raises(UsageError) as caught:
        SeriesDataModule(read(path), split=[2, 1, 0], **OPTIONS)
    assert str(caught.value).startswith(f"data.path={path}: series 'z': column 'region'")
