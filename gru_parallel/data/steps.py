"""How far apart the rows of a series are in time, and where rows are missing."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_MOST_ODD_SHARE = 0.25
"""Where more of the steps than this differ from the usual one, there is no usual one."""


@dataclass(frozen=True)
class Steps:
    """What is between the rows of a series.

    Attributes:
        frequency: the usual step, as data.frequency says it; None where it has no name.
        n_missing: rows that are missing between each row and the next, array of shape
            `(rows - 1,)`.
        n_odd: number of steps that are not as long as the usual one.
    """

    frequency: str | None
    n_missing: NDArray[np.int64]
    n_odd: int

    @property
    def are_even(self) -> bool:
        """Whether there is a usual step, from which few steps differ."""
        return self.n_odd <= _MOST_ODD_SHARE * len(self.n_missing)

    @property
    def gaps(self) -> NDArray[np.intp]:
        """Positions of the rows after which rows are missing."""
        return np.flatnonzero(self.n_missing)


def steps_of(times: NDArray[Any]) -> Steps:
    """Find the usual step of a series, and what is missing at it.

    Steps of whole months, of which no two are alike in days, and of business days are known.

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
    """Number of rows that are no later than the row before them."""
    return int((times[1:] <= times[:-1]).sum())


def n_uneven(times: NDArray[Any]) -> int:
    """Number of steps that are not as long as the usual one."""
    if n_backward(times):
        return len(times)
    return steps_of(times).n_odd


def _by_clock(times: NDArray[Any]) -> Steps:
    lengths = np.asarray(np.diff(times) / np.timedelta64(1, "ns"), dtype=np.float64)
    step = pd.Timedelta(int(np.median(lengths)), unit="ns")
    offset = pd.tseries.frequencies.to_offset(step)
    return _steps(lengths, float(step.value), _name_of(offset))


def _by_months(times: NDArray[Any]) -> Steps | None:
    """Steps of whole months, if all rows are at one place in theirs."""
    index = pd.DatetimeIndex(times)
    at_end, at_start = index.is_month_end.all(), (index.day == 1).all()
    is_at_one_place = at_end or len(set(index.day)) == 1
    if not is_at_one_place or len(set(index - index.normalize())) > 1:
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
    """Steps of a day from Monday to Friday, if no row is on a weekend and weekends went by."""
    days = times.astype("datetime64[D]")
    if (days != times).any() or not np.is_busday(days).all():
        return None
    n_days = np.busday_count(days[:-1], days[1:]).astype(np.float64)
    went_by_weekends = (days[-1] - days[0]).astype(int) > 7
    return _steps(n_days, 1.0, "B") if went_by_weekends and np.median(n_days) == 1 else None


def _steps(lengths: NDArray[np.float64], step: float, name: str | None) -> Steps:
    if step <= 0:
        return Steps(None, np.zeros(len(lengths), dtype=np.int64), len(lengths))
    n_steps = np.rint(lengths / step)
    n_missing = np.maximum(n_steps - 1, 0).astype(np.int64)
    if not np.allclose(lengths, n_steps * step, rtol=1e-6):
        # Clocks that jitter keep to no frequency.
        name = None
    return Steps(name, n_missing, int((n_steps != 1).sum()))


def _name_of(offset: Any) -> str:
    name = str(offset.freqstr)
    return name if name[0].isdigit() else f"1{name}"
