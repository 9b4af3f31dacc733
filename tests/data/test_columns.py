from collections.abc import Sequence

import pytest

from gru_parallel.data.columns import choose_columns
from gru_parallel.errors import UsageError

NAMES = ["date", "HUFL", "MUFL", "OT"]


def error_of(
    columns: Sequence[str] | None,
    targets: str | Sequence[str] | None,
    names: Sequence[str] = NAMES,
) -> str:
    with pytest.raises(UsageError) as caught:
        choose_columns(names, ["date"], columns, targets)
    return str(caught.value)


def test_all_but_the_time_column_is_taken_by_default() -> None:
    values = ("HUFL", "MUFL", "OT")
    assert choose_columns(NAMES, ["date"], None, None) == (values, values)


def test_columns_and_targets_keep_the_order_they_were_given_in() -> None:
    assert choose_columns(NAMES, ["date"], ["OT", "HUFL"], ["HUFL", "OT"]) == (
        ("OT", "HUFL"),
        ("HUFL", "OT"),
    )


def test_one_target_may_be_given_as_a_string() -> None:
    assert choose_columns(NAMES, ["date"], None, "OT")[1] == ("OT",)


def test_an_absent_target_gets_the_nearest_name() -> None:
    assert error_of(None, "ot") == (
        "data.target=ot is not a column (did you mean 'OT'?); use one of: HUFL, MUFL, OT."
    )


def test_an_absent_target_like_nothing_else_gets_the_names_only() -> None:
    expected = "data.target=price is not a column; use one of: HUFL, MUFL, OT."
    assert error_of(None, "price") == expected


def test_many_names_are_abridged() -> None:
    names = ["date", *(f"v{i}" for i in range(100))]
    assert error_of(None, "xyz", names).endswith("v10, v11 and 88 more.")


def test_an_absent_column_is_named() -> None:
    message = error_of(["HUFF"], None)
    assert message.startswith("data.columns=HUFF is not a column (did you mean 'HUFL'?); use one")


def test_a_target_outside_the_chosen_columns_is_refused() -> None:
    assert error_of(["HUFL"], "OT") == (
        "data.target=OT is not one of data.columns; add it there, or choose among: HUFL."
    )


def test_the_time_column_is_no_target() -> None:
    assert error_of(None, "date") == (
        "data.target=date is the time column, which holds no values; leave it out, or name "
        "another time column, or none, with data.time_column."
    )


def test_a_name_given_twice_is_refused() -> None:
    assert error_of(["OT", "OT"], None) == "data.columns names 'OT' twice; name it once."


def test_an_empty_list_is_refused() -> None:
    expected = "data.target=[] names no column; name at least one, or leave it out."
    assert error_of(None, []) == expected


def test_a_file_with_nothing_but_times_is_refused() -> None:
    assert error_of(None, None, ["date"]) == (
        "data.path: there is no value column beside the time column 'date'; give a file with at "
        "least one column of numbers."
    )


def test_a_column_without_a_name_is_not_taken_unasked() -> None:
    assert error_of(None, None, ["", "date", "OT"]) == (
        "data.columns: column 1 of the file has no name in the header; name it there, or list "
        "the columns to use in data.columns."
    )
    assert choose_columns(["", "date", "OT"], ["date"], ["OT"], None)[0] == ("OT",)
