"""What describes a whole series, a number or a word, and how it goes into a model: data.static."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.standardize import Standardizer
from gru_parallel.errors import UsageError

Static = Mapping[str, float | str]
"""What describes a series, by the name of the column."""

_MARKS = frozenset(
    ("na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none", "1.#ind", "1.#qnan")
)
"""What programs write for a missing value, in lower case."""


def is_mark(value: float | str) -> bool:
    """Whether something may stand for a missing value: `NA` may, and may be a word, too."""
    return isinstance(value, str) and value.lower() in _MARKS


@dataclass(frozen=True)
class StaticColumn:
    """How one thing that describes a series becomes numbers.

    Attributes:
        name: of the column.
        mean: of a number, over the series of the training part.
        scale: its standard deviation, 1 where all are the same.
        categories: all words that there are; empty for a number.
    """

    name: str
    mean: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] = ()

    @classmethod
    def fit(cls, name: str, values: Sequence[float | str]) -> "StaticColumn":
        """Look at what the series of the training part have; some words make all of it words.

        Marks of missing values make no words of numbers: `encode` refuses them.
        """
        numbers = [value for value in values if not is_mark(value)]
        if numbers and not any(isinstance(value, str) for value in numbers):
            values = numbers
        if any(isinstance(value, str) for value in values):
            return cls(name, categories=tuple(sorted(set(map(_word, values)))))
        by = Standardizer.fit(np.array(values, dtype=np.float64)[:, None])
        by.check([name])
        return cls(name, float(by.mean[0]), float(by.scale[0]))

    @property
    def width(self) -> int:
        """Number of numbers that it becomes: one, or one for each word."""
        return len(self.categories) or 1

    def encode(self, value: float | str) -> list[float]:
        """Return a number in standard units, or 1 for its word and 0 for all others.

        Raises:
            ValueError: it is another word, or none of the numbers that it should be.
        """
        if not self.categories:
            return [(float(value) - self.mean) / self.scale]
        at = self.categories.index(_word(value))
        return [float(position == at) for position in range(self.width)]


def fit_static(statics: Sequence[Static]) -> tuple[StaticColumn, ...]:
    """Say how what describes the series of the training part becomes numbers."""
    names = statics[0] if statics else ()
    return tuple(StaticColumn.fit(name, [each[name] for each in statics]) for name in names)


def encode_static(
    columns: Sequence[StaticColumn], static: Static, where: str
) -> NDArray[np.float64]:
    """Turn what describes a series into numbers.

    Args:
        columns: how.
        static: of the series.
        where: begins a message, as "data.path=a.csv: series 'x': ".

    Returns:
        Array of shape `(n_static,)`.

    Raises:
        UsageError: something is not there, or is a word that no series of the training part has.
    """
    found: list[float] = []
    for column in columns:
        if column.name not in static:
            raise UsageError(
                f"{where}column {column.name!r} (data.static) is empty in all rows; fill it in."
            )
        value = static[column.name]
        try:
            found += column.encode(value)
        except ValueError as error:
            known = ", ".join(column.categories[:12]) or "numbers"
            raise UsageError(
                f"{where}column {column.name!r} (data.static) holds {value!r}, and in the training"
                f" part there is only {known}; correct it, or train on such series or without"
                " the column."
            ) from error
    return np.array(found, dtype=np.float64)


def _word(value: float | str) -> str:
    # All digits: two numbers that name things are two words.
    return value if isinstance(value, str) else repr(float(value)).removesuffix(".0")
