import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gru_parallel.data.reading import read_sheet
from gru_parallel.errors import UsageError

Write = Callable[..., Path]

WORDS = {";": "semicolon", "\t": "tab", "|": "pipe"}


def error_of(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_sheet(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(f"data.path={path} ")
    return message.removeprefix(f"data.path={path} ")


def test_reads_a_csv_file(write: Write) -> None:
    sheet = read_sheet(write("date,a\n2020-01-01,1\n2020-01-02,2.5\n"))
    assert sheet.frame.to_dict("list") == {"date": ["2020-01-01", "2020-01-02"], "a": [1.0, 2.5]}
    assert sheet.first_row == 2


def test_reads_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "series.parquet"
    pd.DataFrame({"a": [1.0, 2.0]}).to_parquet(path)
    sheet = read_sheet(path)
    assert sheet.frame.to_dict("list") == {"a": [1.0, 2.0]}
    assert sheet.first_row == 1


def test_the_index_of_a_parquet_file_becomes_a_column(tmp_path: Path) -> None:
    path = tmp_path / "series.PQ"
    index = pd.date_range("2020-01-01", periods=2, name="when")
    pd.DataFrame({"a": [1.0, 2.0]}, index=index).to_parquet(path)
    assert list(read_sheet(path).frame.columns) == ["when", "a"]


def test_a_suffix_in_capitals_will_do(write: Write) -> None:
    assert len(read_sheet(write("a\n1\n", "SERIES.CSV")).frame) == 1


def test_a_byte_order_mark_is_no_part_of_the_first_name(write: Write) -> None:
    sheet = read_sheet(write(b"\xef\xbb\xbfa,b\n1,2\n"))
    assert list(sheet.frame.columns) == ["a", "b"]


def test_spaces_around_names_and_numbers_do_not_count(write: Write) -> None:
    sheet = read_sheet(write("a, b \n1, 2\n"))
    assert sheet.frame.to_dict("list") == {"a": [1], "b": [2]}


def test_windows_line_ends_and_quotes_are_read(write: Write) -> None:
    sheet = read_sheet(write('"a, in m","b"\r\n"1",2\r\n'))
    assert sheet.frame.to_dict("list") == {"a, in m": [1], "b": [2]}


def test_blank_lines_at_the_end_are_no_rows(write: Write) -> None:
    assert len(read_sheet(write("a,b\n1,2\n3,4\n\n\n")).frame) == 2


def test_a_blank_line_in_the_middle_keeps_its_row(write: Write) -> None:
    frame = read_sheet(write("a,b\n1,2\n\n3,4\n")).frame
    assert frame["a"].isna().tolist() == [False, True, False]


def test_a_comma_at_the_end_of_each_row_of_values_shifts_nothing(write: Write) -> None:
    frame = read_sheet(write("a,b\n1,2,\n3,4,\n")).frame
    assert frame.to_dict("list") == {
        "a": [1, 3],
        "b": [2, 4],
    }


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "series.csv"
    assert error_of(path) == f"does not exist (looked in {tmp_path}); correct it."


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert error_of(tmp_path) == "is a folder; give the CSV or Parquet file in it."


def test_another_suffix_is_refused(write: Write) -> None:
    expected = "is of an unknown kind; give a file that ends in .csv or .parquet."
    assert error_of(write("a\n1\n", "series.xlsx")) == expected


@pytest.mark.parametrize("content", ["", "\n", " \n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(write: Write, content: str | bytes) -> None:
    expected = "is empty; give a file with a header row and rows of values."
    assert error_of(write(content)) == expected


@pytest.mark.parametrize("content", ["a,b\n", "a,b", "a,b\n\n\n", "a,b\n,\n"])
def test_a_file_that_is_only_a_header_is_refused(write: Write, content: str) -> None:
    expected = "has no rows of values; give a CSV or Parquet file with at least one window."
    assert error_of(write(content)) == expected


def test_an_empty_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "series.parquet"
    pd.DataFrame({"a": []}).to_parquet(path)
    assert error_of(path).startswith("has no rows of values;")


def test_a_binary_file_named_csv_is_refused(write: Write) -> None:
    assert error_of(write(b"\x89PNG\r\n\x1a\n\x00\x00")) == (
        "is not UTF-8 text (byte 0); save it as a CSV file in UTF-8."
    )


def test_a_binary_file_that_happens_to_be_utf8_is_refused(write: Write) -> None:
    expected = "is not a CSV file (it holds binary data); give a CSV file."
    assert error_of(write(b"PK\x03\x04\x00\x00")) == expected


@pytest.mark.parametrize(
    "content",
    [
        "<!DOCTYPE html>\n<html>\n<body>Not found</body>\n</html>\n",
        "\n  <HTML><p>Sign in, please</p></HTML>",
        "<?xml version='1.0'?>\n<series/>\n",
    ],
)
def test_a_web_page_is_refused(write: Write, content: str) -> None:
    assert error_of(write(content)) == (
        "is not a CSV file but HTML or XML; give the CSV file itself."
    )


def test_column_names_in_angle_brackets_are_no_web_page(write: Write) -> None:
    assert list(read_sheet(write("<DATE>,<OPEN>\n20200101,1\n")).frame) == ["<DATE>", "<OPEN>"]


@pytest.mark.parametrize(
    "content",
    [
        "Dear colleague,\nthe series is attached.\n\nBest regards\n",
        "To be, or not to be\nthat is the question:\n",
        "Nothing\nbut words\n",
    ],
)
def test_prose_is_refused(write: Write, content: str) -> None:
    assert error_of(write(content)) == (
        "is not a CSV file of a series (no field below its first line begins with a number or a "
        "date); give a CSV file with a header row and one row of numbers per time step."
    )


@pytest.mark.parametrize("cell", ["5", "-.5", "2020-01-01", '"1,5"', "5 km"])
def test_one_number_or_date_makes_a_file_that_is_looked_at_further(write: Write, cell: str) -> None:
    assert len(read_sheet(write(f"a,b\nx,y\nx,{cell}\n")).frame) == 2


def test_another_encoding_is_refused_by_name_of_the_right_one(write: Write) -> None:
    content = "Temperatur °C\n".encode("latin-1") + b"1\n"
    expected = "is not UTF-8 text (byte 11); save it as a CSV file in UTF-8."
    assert error_of(write(content)) == expected


def test_another_encoding_far_into_the_file_is_refused(write: Write) -> None:
    content = b"a\n" + b"1\n" * 400_000 + b"\xb0\n"
    assert error_of(write(content)).startswith("is not UTF-8 text (byte ")


@pytest.mark.parametrize(("separator", "spelling"), [(";", "';'"), ("\t", "tabs"), ("|", "'|'")])
def test_another_separator_is_refused(write: Write, separator: str, spelling: str) -> None:
    content = f"date{separator}a\n2020-01-01{separator}1\n"
    expected = f"separates its columns with {spelling}; set data.separator={WORDS[separator]}."
    assert error_of(write(content)) == expected


def test_semicolons_with_decimal_commas_are_refused_as_such(write: Write) -> None:
    content = "a;b\n1,5;2,5\n3,5;4,5\n"
    assert error_of(write(content)) == (
        "separates its columns with ';'; set data.separator=semicolon."
    )


def test_a_column_name_that_comes_twice_is_refused(write: Write) -> None:
    expected = "has more than one column named 'b', blanks around it aside; rename all but one."
    assert error_of(write("a,b, b\n1,2,3\n")) == expected


def test_a_row_with_too_many_fields_is_refused(write: Write) -> None:
    message = error_of(write("a,b\n1,2\n3,4,5\n"))
    assert re.fullmatch(
        r"is not a CSV file with 2 fields in every row \(.*line 3, saw 3\); correct that row\.",
        message,
    )


def test_rows_longer_than_the_header_are_refused_and_not_cut(write: Write) -> None:
    message = error_of(write("a,b\n1,2,3\n3,4,5\n"))
    assert message.startswith("is not a CSV file with 2 fields in every row (Length of header")


def test_a_quote_that_never_ends_is_refused(write: Write) -> None:
    message = error_of(write('a,b\n1,"2\n3,4\n'))
    assert "EOF inside string" in message


def test_a_damaged_parquet_file_is_refused(write: Write) -> None:
    message = error_of(write(b"this is no parquet file", "series.parquet"))
    assert "Parquet" in message or "parquet" in message
    assert message.endswith(("write it again.", "check the file."))
