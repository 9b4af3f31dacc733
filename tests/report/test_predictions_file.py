"""Forecasts are written a batch at a time, and the whole file or none."""

from pathlib import Path

import pandas as pd
import pytest

from gru_parallel.report import predictions_file
from gru_parallel.report.predictions_file import open_predictions


def batch(n: int) -> pd.DataFrame:
    ds = pd.Timestamp("2024-01-01") + pd.Timedelta(days=n)
    return pd.DataFrame({"unique_id": [f"s{n}"], "ds": [ds], "y_hat": [n / 3]})


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_batches_come_out_in_their_order_under_their_names(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions_file, "_ROWS_AT_ONCE", 2)
    path = tmp_path / "new" / f"f.{kind}"

    with open_predictions(path, {"y_hat": "GRU"}, "%Y-%m-%d") as write:
        for n in range(5):
            write(batch(n))
        assert not path.exists()

    read = pd.read_csv(path, parse_dates=["ds"]) if kind == "csv" else pd.read_parquet(path)
    assert list(read) == ["unique_id", "ds", "GRU"]
    assert read["GRU"].tolist() == [n / 3 for n in range(5)]
    assert [f"{ds:%d}" for ds in read["ds"]] == ["01", "02", "03", "04", "05"]
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_an_error_leaves_an_older_file_and_nothing_else(tmp_path: Path) -> None:
    old = tmp_path / "f.csv"
    old.write_text("old")

    def fail(path: Path) -> None:
        with open_predictions(path, {}, "%Y") as write:
            write(batch(0))
            raise RuntimeError

    for path in (old, tmp_path / "new" / "er" / "f.csv"):
        with pytest.raises(RuntimeError):
            fail(path)

    assert [each.name for each in tmp_path.iterdir()] == ["f.csv"]
    assert old.read_text() == "old"
