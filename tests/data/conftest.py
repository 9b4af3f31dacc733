"""Fixtures of the tests of data/: files to read, and the one real series."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gru_parallel.data.table import Table
from tests.data.tables import load_table

ETTH1 = Path(__file__).parents[3] / "shared" / "data" / "ETTh1.csv"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file with the given content, text or bytes, and return its path."""

    def write_file(content: str | bytes, name: str = "series.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


@pytest.fixture(scope="session")
def etth1() -> Table:
    """The ETTh1 series, all seven columns targets."""
    if not ETTH1.exists():
        pytest.skip("../shared/data/ETTh1.csv is absent: the project does not vendor the series")
    return load_table(ETTH1)
