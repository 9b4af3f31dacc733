"""How far apart the rows of a series are in time, and where rows are missing."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_MOST_ODD_SHARE = 0.25
"""If more of the steps than this differ from the usual one, there is no usual one."""


@dataclass(frozen=True)
class Steps:
    """The steps between the rows of a series.

    Attributes:
        frequency: the usual step, as data.frequency writes it; None where it has no name.
        n_missing: number of rows missing after each row but the last, array of shape `(rows - 1,)`.
        n_odd: number of steps that differ from the usual one.
    """

    frequency: str | None
    n_missing: NDArray[np.int64]
    n_odd: int

    @property
    def are_even(self) -> bool:
        """Whether few steps differ from the usual one."""
        return self.n_odd <= _MOST_ODD_SHARE * len(self.n_missing)

    @property
    def gaps(self) -> NDArray[np.intp]:
        """Positions of the rows after which rows are missing."""
        return np.flatnonzero(self.n_missing)

    def between_last(self, n_rows: int) -> "Steps":
        """Count only the rows that are missing between so many of the last ones."""
        is_before = np.arange(len(self.n_missing)) <= len(self.n_missing) - n_rows
        return replace(self, n_missing=np.where(is_before, 0, self.n_missing))


def steps_of(times: NDArray[Any]) -> Steps:
    """Find the usual step of a series, and the rows that are missing at this step.

    It may be one of whole months, however many days they have, or of business days.

    Args:
        times: ascending, array of shape `(rows,)`, of datetime64 or of numbers.

    Returns:
        The steps.
    """
    if len(times) < 2:
        return Steps(None, np.zeros(max(len(times) - 1, 0), dtype=np.int64), 0)
    if np.issubdtype(times.dtype, np.number):
        lengths = np.diff(times)
        step = float(np.median(lengths))
        return _steps(lengths, step, f"{step:.12g}")
    return _by_months(times) or _by_business_days(times) or _by_clock(times)


def n_backward(times: NDArray[Any]) -> int:
    """Number of rows that are not later than the row before."""
    return int((times[1:] <= times[:-1]).sum())


def n_uneven(times: NDArray[Any]) -> int:
    """Number of steps that differ from the usual one."""
    return len(times) if n_backward(times) else steps_of(times).n_odd


def _by_clock(times: NDArray[Any]) -> Steps:
    lengths = np.asarray(np.diff(times) / np.timedelta64(1, "ns"), dtype=np.float64)
    step = pd.Timedelta(int(np.median(lengths)), unit="ns")
    name = str(pd.tseries.frequencies.to_offset(step).freqstr)
    return _steps(lengths, float(step.value), name if name[0].isdigit() else f"1{name}")


def _by_months(times: NDArray[Any]) -> Steps | None:
    """Steps of whole months, if all rows are on the same day of the month, or all on the last."""
    index = pd.DatetimeIndex(times)
    at_end, at_start = index.is_month_end.all(), (index.day == 1).all()
    is_same_day = at_end or len(set(index.day)) == 1
    if not is_same_day or len(set(index - index.normalize())) > 1:
        return None
    months = np.asarray(index.year * 12 + index.month, dtype=np.int64)
    lengths = np.diff(months).astype(np.float64)
    if (lengths <= 0).any():
        return None
    step = int(np.median(lengths))
    times_of = f"{step}" if step > 1 else ""
    name = f"{times_of}MS" if at_start else f"{times_of}ME" if at_end else None
    return _steps(lengths, step, name)


def _by_business_days(times: NDArray[Any]) -> Steps | None:
    """Steps from Monday to Friday, if no row is on a weekend and weekends have passed."""
    days = times.astype("datetime64[D]")
    if (days != times).any() or not np.is_busday(days).all():
        return None
    n_days = np.busday_count(days[:-1], days[1:]).astype(np.float64)
    has_weekends = (days[-1] - days[0]).astype(int) > 7
    return _steps(n_days, 1.0, "B") if has_weekends and np.median(n_days) == 1 else None


def _steps(lengths: NDArray[np.float64], step: float, name: str | None) -> Steps:
    if step <= 0:
        return Steps(None, np.zeros(len(lengths), dtype=np.int64), len(lengths))
    n_steps = np.rint(lengths / step)
    n_missing = np.maximum(n_steps - 1, 0).astype(np.int64)
    if not np.allclose(lengths, n_steps * step, rtol=1e-6):
        # A clock that jitters has no frequency.
        name = None
    return Steps(name, n_missing, int((n_steps != 1).sum()))
