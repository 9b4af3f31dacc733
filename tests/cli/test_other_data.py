"""What commands make of data that is not the run's own, and how they tell that it is not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.cli.finished import OF_FILE, finish_run, series
from tests.cli.in_process import Ended, RunCommand


def metrics_of(ended: Ended, name: str) -> dict[str, Any]:
    assert ended.status == 0, ended.err
    found: dict[str, Any] = json.loads(Path(name).read_text())["test_metrics"]
    # MASE is unknown where there is no training part.
    return {metric: error for metric, error in found.items() if error is not None}


@pytest.mark.parametrize("scaling", ["none", "standardize"])
def test_gaps_before_the_first_value_are_the_mean_of_the_training_part(
    scaling: str, train_command: RunCommand, use_command: RunCommand
) -> None:
    settings = (f"data.scaling={scaling}", "data.missing=interpolate")
    finish_run(train_command, *OF_FILE, *settings)
    gaps = series(40, seed=1)
    gaps.loc[:2, ["a", "c"]] = np.nan
    mean = series().iloc[:84].mean(numeric_only=True)
    for name, table in {"gaps": gaps, "filled": gaps.fillna(mean)}.items():
        table.to_csv(f"{name}.csv", index=False)
        # Its only window begins with the gaps.
        table.iloc[:8].to_csv(f"{name}-start.csv", index=False)

    for command, file in (("evaluate", "evaluation.json"), ("backtest", "backtest.json")):
        found, expected = (
            metrics_of(
                use_command(command, "run=run", f"data.path={name}.csv", f"output={name}"),
                f"{name}/{file}",
            )
            for name in ("gaps", "filled")
        )
        assert found == pytest.approx(expected, rel=1e-6)
    forecasts = []
    for name in ("gaps", "filled"):
        path = f"data.path={name}-start.csv"
        ended = use_command("predict", "run=run", path, f"output={name}-forecasts.csv")
        assert ended.status == 0, ended.err
        forecasts.append(pd.read_csv(f"{name}-forecasts.csv")["y_hat"].tolist())
    assert forecasts[0] == pytest.approx(forecasts[1], rel=1e-6)
