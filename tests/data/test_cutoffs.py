"""Cutoffs and starts are read as the dates that they are, or refused."""

import numpy as np
import pytest

from gru_parallel.data.cutoffs import as_date, read_cutoffs
from gru_parallel.errors import UsageError

TIMES = np.array(["2025-03-01", "2025-03-10"], dtype="datetime64[ns]")


@pytest.mark.parametrize(
    "given", ["05.03.2025", "03/05/2025", "5-3-2025 13:00", "05 03 2025", "Wed 05/03/2025"]
)
def test_a_date_whose_day_could_be_its_month_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match=r"cutoffs=\[.+\] can be read in two ways"):
        read_cutoffs([given], TIMES)
    with pytest.raises(UsageError, match=r"start=.+ can be read in two ways.* 2020-01-31"):
        as_date(given, f"start={given}", TIMES)


@pytest.mark.parametrize(
    ("given", "day"),
    [
        ("2025-03-05", "2025-03-05"),
        ("2025/3/5 06:05:04", "2025-03-05"),
        ("2025 03 05", "2025-03-05"),
        (20250305, "2025-03-05"),
        ("5 Mar 2025", "2025-03-05"),
        ("31.01.2025", "2025-01-31"),
        ("01/31/2025", "2025-01-31"),
        ("03.03.2025", "2025-03-03"),
    ],
)
def test_a_date_that_can_be_read_in_one_way_is_read(given: object, day: str) -> None:
    (read,) = read_cutoffs([given], TIMES)

    assert np.datetime_as_string(read, unit="D") == day


@pytest.mark.parametrize("given", ["2025-03-05T00:00+02:00", "2025-03-05T00:00Z"])
def test_a_zone_is_refused_where_days_may_be_those_of_another(given: str) -> None:
    with pytest.raises(UsageError, match=r"cutoffs=\[.+\] names a time zone.* without a zone"):
        read_cutoffs([given], TIMES)
    with pytest.raises(UsageError, match=r"start=.+ names a time zone"):
        as_date(given, f"start={given}", TIMES)


def test_a_date_with_a_zone_becomes_utc_where_rows_have_several_times_of_day() -> None:
    hours = TIMES[0] + np.arange(3) * np.timedelta64(1, "h")

    (read,) = read_cutoffs(["2025-03-05T01:00+02:00"], hours)

    assert read == np.datetime64("2025-03-04T23:00")
