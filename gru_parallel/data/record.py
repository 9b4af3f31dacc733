"""What a checkpoint records of the data: columns, targets, and rows and scale of each part."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.standardize import Standardizer
from gru_parallel.data.static import StaticColumn
from gru_parallel.data.widths import Widths
from gru_parallel.errors import UsageError

_TOLERANCE = 1e-8
"""Of the scale."""
_ROUNDING = 1e-12
"""Of the mean: numbers that are read or summed in another way differ in the last digits."""


_LISTS = {
    "columns": "columns",
    "targets": "targets",
    "future": "columns known ahead",
    "calendar": "calendar features",
    "described_by": "static columns",
}
"""What a `DataRecord` lists, and what users know it by."""


@dataclass(frozen=True)
class PartRecord:
    """The extent and the scale of one part of the data.

    Attributes:
        n_rows: of all its series.
        mean: of each column, in the units of the series.
        scale: standard deviation of each column; 1 for a constant one.
    """

    n_rows: int
    mean: list[float]
    scale: list[float]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "PartRecord":
        """Describe rows of values, array of shape `(rows, columns)`; mean 0 and scale 1 of none."""
        if not len(values):
            return cls(0, [0.0] * values.shape[1], [1.0] * values.shape[1])
        fitted = Standardizer.fit(values)
        return cls(len(values), fitted.mean.tolist(), fitted.scale.tolist())

    @property
    def scales(self) -> list[tuple[float, float]]:
        """Mean and scale of each column."""
        return list(zip(self.mean, self.scale, strict=True))


@dataclass(frozen=True)
class DataRecord:
    """Tells the data of one run from the data of another.

    Attributes:
        columns: names of the input columns, in their order, the ones that are known ahead last.
        targets: names of the columns to forecast.
        parts: "training", "validation" and "test".
        mean: of each column, which all its values are standardised by: that of the training part,
            unless the run has kept that of another.
        scale: the same for the standard deviation.
        future: names of the columns that are known ahead.
        calendar: what goes in of the date of each row.
        static: how what describes a series becomes numbers.
        weight: mean and standard deviation of the weights of rows, of all rows; None without, and
            in records of earlier versions.
    """

    columns: list[str]
    targets: list[str]
    parts: dict[str, PartRecord]
    mean: list[float]
    scale: list[float]
    future: list[str] = field(default_factory=list)
    calendar: list[str] = field(default_factory=list)
    static: list[StaticColumn] = field(default_factory=list)
    weight: tuple[float, float] | None = None

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "DataRecord":
        """Read what `state` returned."""
        parts = {name: PartRecord(**part) for name, part in state["parts"].items()}
        # Records of earlier versions do not tell them apart.
        mean, scale = (
            state.get(name, getattr(parts["training"], name)) for name in ("mean", "scale")
        )
        # Nor did they know anything ahead, or describe series.
        future, calendar = (state.get(name, []) for name in ("future", "calendar"))
        static = [
            StaticColumn(**{**column, "categories": tuple(column["categories"])})
            for column in state.get("static", [])
        ]
        weight = state.get("weight")
        return cls(
            state["columns"],
            state["targets"],
            parts,
            mean,
            scale,
            future,
            calendar,
            static,
            None if weight is None else (weight[0], weight[1]),
        )

    @property
    def widths(self) -> Widths:
        """How many numbers go in with each row, and how many are forecast."""
        n_future = len(self.future)
        n_known = n_future + len(self.calendar)
        n_static = sum(column.width for column in self.static)
        return Widths(len(self.columns) - n_future, len(self.targets), n_known, n_static)

    @property
    def described_by(self) -> list[str]:
        """Names of what describes a series."""
        return [column.name for column in self.static]

    @property
    def standardizer(self) -> Standardizer:
        """What standardises all values."""
        return Standardizer(np.array(self.mean), np.array(self.scale))

    @property
    def training_mean(self) -> NDArray[np.float64]:
        """The mean of each column in the training part, in the units of the series.

        Unlike that of the standardizer it is one without scaling, too.
        """
        return np.array(self.parts["training"].mean)

    def state(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return asdict(self)

    def check_same(self, present: "DataRecord") -> None:
        """Check that a run resumes with the same data.

        Args:
            present: the data of the run that resumes.

        Raises:
            UsageError: it differs; the message names the first difference.
        """
        found = self.difference(present) or self._difference_of_weights(present)
        if found is not None:
            before, now = found
            raise UsageError(
                f"ckpt_path was written {before}, and this run has {now}; give the same data, or"
                " begin a new run with its weights: init_from=..."
            )

    def _difference_of_weights(self, present: "DataRecord") -> tuple[str, str] | None:
        """The same of the weights of rows, which count where a run goes on, and not in tests."""
        was, is_now = self.weight, present.weight
        if was is None or (is_now is not None and _is_close(was, is_now)):
            return None
        now = "weights that are all alike" if is_now is None else _shown(is_now)
        return f"with weights of rows that have {_shown(was)}", now

    def difference(self, present: "DataRecord") -> tuple[str, str] | None:
        """Return the first difference from other data, as "with 10 rows" and "11 rows"."""
        for what, name in _LISTS.items():
            listed, others = (", ".join(getattr(of, what)) or "none" for of in (self, present))
            if listed != others:
                return f"with the {name} {listed}", f"the {name} {others}"
        for name, before in self.parts.items():
            now = present.parts[name]
            if before.n_rows != now.n_rows:
                return f"with {before.n_rows} rows in its {name} part", f"{now.n_rows} rows"
            for column, was, is_now in zip(self.columns, before.scales, now.scales, strict=True):
                if not _is_close(was, is_now):
                    return (
                        f"on data in which column {column} of the {name} part has {_shown(was)}",
                        _shown(is_now),
                    )
        return None


def _is_close(was: tuple[float, float], is_now: tuple[float, float]) -> bool:
    (mean, scale), (other_mean, other_scale) = was, is_now
    room = _TOLERANCE * scale + _ROUNDING * abs(mean)
    return abs(mean - other_mean) <= room and abs(scale - other_scale) <= room


def _shown(scale: tuple[float, float]) -> str:
    return f"mean {scale[0]:.9g} and deviation {scale[1]:.9g}"
