"""Files of series that cannot work, drawn by hypothesis: one good file, changed in one way."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from hypothesis import strategies as st

N_ROWS = 60
HEADER = ("date", "a", "b")
SETTINGS = (
    *("data=csv", "data.target=a", "data.input_length=4", "data.horizon=2", "data.batch_size=8"),
    *("data.season_length=4", "model.hidden_size=2", "model.num_layers=2", "schedule.n_chunks=2"),
    *("trainer.max_epochs=1", "trainer.enable_progress_bar=false"),
)

Row = list[str]
Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class BadFile:
    """A file, and the settings that name it.

    Attributes:
        kind: what was done to it.
        name: of the file.
        content: its bytes.
        settings: that are not those of every file.
        may_work: whether it may be good after all, as where a byte of a number was changed.
    """

    kind: str
    name: str
    content: bytes
    settings: tuple[str, ...] = ()
    may_work: bool = False

    def __repr__(self) -> str:
        return f"{self.kind}: {self.name} {self.settings} {self.content[:200]!r}"


def good_rows(n_rows: int = N_ROWS) -> list[Row]:
    """Return the rows of a good file: hours, and two columns of numbers."""
    times = (f"2024-01-{k // 24 + 1:02d} {k % 24:02d}:00" for k in range(n_rows))
    return [list(HEADER), *([time, f"{k % 7}.5", str(k % 5)] for k, time in enumerate(times))]


def as_csv(rows: Sequence[Row], separator: str = ",") -> bytes:
    """Write rows as a CSV file."""
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator="\n").writerows(rows)
    return file.getvalue().encode("utf-8", "surrogatepass")


_AT = st.integers(2, N_ROWS)
"""A row whose predecessor is a row of values, too."""
_VALUE = st.sampled_from((1, 2))


def _is_no_number(text: str) -> bool:
    try:
        return not math.isfinite(float(text))
    except ValueError:
        return True


_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12).filter(_is_no_number)
_NO_NUMBER = st.one_of(
    _TEXT,
    st.sampled_from(
        [
            *("nan", "inf", "-inf", "Infinity", "1e999", "-1e400", "NA", "null", "None", "-", "?"),
            *("1,5", "1.234,5", "1 000", "0x1F", "1e", "--1", "1.2.3", "2020-01-01", "12:30"),
            *("TRUE", "1;2", "$5", "5%", "=A1+1", "#REF!", "'", '"', "\t", "\u00a0", "\ufeff"),
        ]
    ),
)
_NO_TIME = st.one_of(
    _TEXT.filter(lambda text: not any(character.isdigit() for character in text)),
    st.sampled_from(
        [
            *("2024-02-30 00:00", "2024-13-01 00:00", "2024-01-01 25:00", "2024-01-01 00:61"),
            *("0000-00-00 00:00", "soon", "NaT", "1e400", "2024-01-99", "-1", "01/02/2024 00:00"),
            *("2024-W01-1", "yesterday", "2024-01-01T00:00:00:00", "24-01-01 00:00", "2024"),
        ]
    ),
)


def _text_among_numbers(draw: Draw) -> BadFile:
    rows, text = good_rows(), draw(_NO_NUMBER)
    rows[draw(_AT)][draw(_VALUE)] = text
    return BadFile("text among numbers", "x.csv", as_csv(rows))


def _text_among_times(draw: Draw) -> BadFile:
    rows = good_rows()
    rows[draw(_AT)][0] = draw(_NO_TIME)
    return BadFile("text among times", "x.csv", as_csv(rows))


def _ragged(draw: Draw) -> BadFile:
    rows, at = good_rows(), draw(_AT)
    n_fields = draw(st.integers(0, 9).filter(lambda n: n != len(HEADER)))
    # A blank line at the end is none.
    at = min(at, N_ROWS - 1)
    rows[at] = [*rows[at], *("9" * 6)][:n_fields]
    return BadFile("a ragged row", "x.csv", as_csv(rows))


def _time_again(draw: Draw) -> BadFile:
    rows, at = good_rows(), draw(_AT)
    rows[at][0] = rows[draw(st.integers(1, at - 1))][0]
    return BadFile("a time again", "x.csv", as_csv(rows))


def _another_order(draw: Draw) -> BadFile:
    header, *rows = good_rows()
    order = draw(st.permutations(range(N_ROWS)).filter(lambda order: order != sorted(order)))
    return BadFile("unordered times", "x.csv", as_csv([header, *(rows[k] for k in order)]))


def _mixed_zones(draw: Draw) -> BadFile:
    rows, at = good_rows(), draw(_AT)
    zone = draw(st.sampled_from(["Z", "+00:00", "+05:30", "-11:00"]))
    rest = draw(st.booleans())
    for number, row in enumerate(rows[1:], 1):
        if (number == at) != rest:
            row[0] += zone
    return BadFile("mixed zones", "x.csv", as_csv(rows))


def _missing_column(draw: Draw) -> BadFile:
    rows, name = good_rows(), draw(st.sampled_from(["c", "A", "aa", "date", "1", " "]))
    setting = draw(st.sampled_from(["target", "columns", "time_column", "series_column"]))
    if name == "date" and setting in ("columns", "time_column"):
        name = "Date"
    written = f'["{name}"]' if setting == "columns" else f'"{name}"'
    return BadFile(
        "a column that is missing", "x.csv", as_csv(rows), (f"data.{setting}={written}",)
    )


def _names_again(draw: Draw) -> BadFile:
    rows = good_rows()
    name = draw(st.sampled_from(["a", "b", "date", " a", "a "]))
    rows[0] = [name, name.strip(), "b"]
    return BadFile("a name twice", "x.csv", as_csv(rows))


def _few_rows(draw: Draw) -> BadFile:
    return BadFile("few rows", "x.csv", as_csv(good_rows(draw(st.integers(0, 9)))))


def _other_separator(draw: Draw) -> BadFile:
    written, read = draw(st.permutations([",", ";", "\t", "|"]))[:2]
    words = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
    setting = () if read == "," else (f"data.separator={words[read]}",)
    return BadFile("another separator", "x.csv", as_csv(good_rows(), written), setting)


def _other_mark(draw: Draw) -> BadFile:
    rows = good_rows()
    for row in rows[1:]:
        row[1] = row[1].replace(".", ",")
    settings = draw(st.sampled_from([(), ("data.thousands=comma",), ("data.thousands=point",)]))
    return BadFile(
        "another decimal mark", "x.csv", as_csv(rows, ";"), (*settings, "data.separator=semicolon")
    )


def _other_bytes(draw: Draw) -> BadFile:
    content, at = as_csv(good_rows()), draw(st.integers(0, 900))
    bad = draw(st.sampled_from([b"\xff", b"\x80", b"\xc3\x28", b"\x00", b"\xed\xa0\x80"]))
    return BadFile("bytes that are no text", "x.csv", content[:at] + bad + content[at:])


def _other_encoding(draw: Draw) -> BadFile:
    content = as_csv(good_rows())
    text = content.decode()
    made = {
        "UTF-16": text.encode("utf-16"),
        "UTF-32": text.encode("utf-32"),
        "gzip": gzip.compress(content),
        "JSON": text.join(["{", "}"]).encode(),
        "nothing": b"",
        "blanks": b" \n\n \n",
        "a mark of byte order": b"\xef\xbb\xbf",
        "a quote that stays open": text.replace("2024-01-01 05:00", '"2024-01-01 05:00').encode(),
        "HTML": b"<html><body>" + content + b"</body></html>",
        "no header": content.partition(b"\n")[2],
    }
    kind = draw(st.sampled_from(sorted(made)))
    return BadFile(kind, "x.csv", made[kind])


def _huge_numbers(draw: Draw) -> BadFile:
    rows = good_rows()
    scale = draw(st.sampled_from(["e300", "e307", "e200", "e-320"]))
    for row in rows[1:]:
        row[1] += scale
    return BadFile("huge numbers", "x.csv", as_csv(rows), may_work=True)


def _far_time(draw: Draw) -> BadFile:
    rows = good_rows()
    rows[-1][0] = draw(
        st.sampled_from(["9999-12-31 00:00", "2262-04-12 00:00", "3000-01-01 00:00"])
    )
    frequency = draw(st.sampled_from([(), ("data.frequency=1h",)]))
    return BadFile("a time far away", "x.csv", as_csv(rows), frequency, may_work=not frequency)


def _wrong_frequency(draw: Draw) -> BadFile:
    frequency = draw(
        st.sampled_from(
            ["7h", "1D", "-1h", "0h", "much", "5", "MS", "0", "inf", "nan", "1.5h1", "1x"]
        )
    )
    return BadFile(
        "a wrong frequency", "x.csv", as_csv(good_rows()), (f"data.frequency={frequency}",)
    )


CSV = (
    _text_among_numbers,
    _text_among_times,
    _ragged,
    _time_again,
    _another_order,
    _mixed_zones,
    _missing_column,
    _names_again,
    _few_rows,
    _other_separator,
    _other_mark,
    _other_bytes,
    _other_encoding,
    _huge_numbers,
    _far_time,
    _wrong_frequency,
)


@st.composite
def bad_csv(draw: Draw) -> BadFile:
    """Draw a CSV file that cannot work."""
    return draw(st.sampled_from(CSV))(draw)


def good_frame(n_rows: int = N_ROWS) -> pd.DataFrame:
    """Return the rows of a good Parquet file."""
    return pd.DataFrame(
        {
            "date": pd.date_range("2024-01-01", periods=n_rows, freq="h"),
            "a": [k % 7 + 0.5 for k in range(n_rows)],
            "b": [k % 5 for k in range(n_rows)],
        }
    )


def as_parquet(frame: pd.DataFrame) -> bytes:
    """Write a data frame as a Parquet file."""
    return bytes(frame.to_parquet(index=False) or b"")


def _damaged(draw: Draw) -> BadFile:
    content = as_parquet(good_frame())
    end = draw(st.integers(0, len(content) - 1))
    return BadFile("a Parquet file cut off", "x.parquet", content[:end])


def _flipped(draw: Draw) -> BadFile:
    content = bytearray(as_parquet(good_frame()))
    for _ in range(draw(st.integers(1, 4))):
        content[draw(st.integers(0, len(content) - 1))] ^= 1 << draw(st.integers(0, 7))
    return BadFile("flipped bits", "x.parquet", bytes(content), may_work=True)


def _other_cells(draw: Draw) -> BadFile:
    frame, at = good_frame(), draw(st.integers(1, N_ROWS - 1))
    bad = draw(
        st.sampled_from([None, math.nan, math.inf, "much", b"\xff", [1], {"x": 1}, True, 2**62])
    )
    name = draw(st.sampled_from(["a", "b"]))
    column: list[Any] = frame[name].astype(object).tolist()
    if not isinstance(bad, float | type(None)):
        column = [bad] * N_ROWS if not isinstance(bad, str) else list(map(str, column))
    column[at] = bad
    frame[name] = pd.Series(column, dtype=object if not isinstance(bad, float) else float)
    return BadFile("other cells", "x.parquet", as_parquet(frame), may_work=bad in (True, 2**62))


def _other_times(draw: Draw) -> BadFile:
    frame, at = good_frame(), draw(st.integers(1, N_ROWS - 1))
    times = frame["date"].tolist()
    kind = draw(st.sampled_from(["again", "missing", "backwards", "text", "as text"]))
    if kind == "again":
        times[at] = times[at - 1]
    elif kind == "missing":
        times[at] = pd.NaT
    elif kind == "backwards":
        times.reverse()
    else:
        times = list(map(str, times))
        times[at] = "soon"
    frame["date"] = times
    return BadFile(f"times: {kind}", "x.parquet", as_parquet(frame))


def _other_table(draw: Draw) -> BadFile:
    frames = {
        "no row": good_frame().iloc[:0],
        "one row": good_frame().iloc[:1],
        "few rows": good_frame().iloc[:9],
        "no column": good_frame()[[]],
        "times alone": good_frame()[["date"]],
        "no target": good_frame().rename(columns={"a": "A"}),
        "blanks around names": good_frame().assign(**{" a": 1.0}),
    }
    kind = draw(st.sampled_from(sorted(frames)))
    return BadFile(kind, "x.parquet", as_parquet(frames[kind]))


def _other_suffix(draw: Draw) -> BadFile:
    written, name = draw(
        st.sampled_from(
            [
                (as_parquet(good_frame()), "x.csv"),
                (as_csv(good_rows()), "x.parquet"),
                (as_csv(good_rows()), "x.pq"),
                (as_csv(good_rows()), "x.txt"),
                (as_csv(good_rows()), "x"),
                (as_csv(good_rows()), "x.csv.gz"),
                (b"PAR1PAR1", "x.parquet"),
                (b"", "x.parquet"),
            ]
        )
    )
    return BadFile("another suffix", name, written)


PARQUET = (_damaged, _flipped, _other_cells, _other_times, _other_table, _other_suffix)


@st.composite
def bad_parquet(draw: Draw) -> BadFile:
    """Draw a Parquet file that cannot work."""
    return draw(st.sampled_from(PARQUET))(draw)
