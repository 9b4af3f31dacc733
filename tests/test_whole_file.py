"""Files are written whole or not at all, with all digits, and an error names them."""

import errno
import math
from pathlib import Path

import pytest

from gru_parallel.whole_file import whole_file, write_table, write_text


def fail_to_write(path: Path) -> None:
    with whole_file(path) as part:
        part.write_text("half")
        # As on a full disk.
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("name", ["old.csv", "new/er/f.csv"])
def test_an_error_names_the_file_and_leaves_what_was_there(name: str, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("old")

    with pytest.raises(OSError, match="No space left") as caught:
        fail_to_write(tmp_path / name)

    assert caught.value.filename == str(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["old.csv"]
    assert (tmp_path / "old.csv").read_text() == "old"


def test_what_cannot_be_put_in_its_place_is_an_error_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "f" / "g").mkdir(parents=True)

    with pytest.raises(IsADirectoryError) as caught:
        write_text("text", tmp_path / "f")

    assert caught.value.filename == str(tmp_path / "f")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_numbers_have_the_digits_to_be_read_back_and_unknown_ones_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"

    write_table(["a", "b"], [(1000000.368, 0.1 + 0.2), (math.nan, "x"), (None, 3)], path)

    assert path.read_bytes() == b"a,b\n1000000.368,0.30000000000000004\n,x\n,3\n"
