"""Whether and how labels fit into the cells; knows sizes only, and draws nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

_LARGEST, _SMALLEST = 8.0, 6.0  # points
_MARGIN = 2.0  # points, both sides together
# Multiples of the font size, in the font that comes with matplotlib.
_DIGIT_WIDTH, _POINT_WIDTH, _DIGIT_HEIGHT = 0.64, 0.32, 0.76


@dataclass(frozen=True)
class LabelFit:
    """How labels are written.

    Attributes:
        size_points: size of the font.
        turn_degrees: 0, or 90 to read from the bottom up.
    """

    size_points: float
    turn_degrees: float


def fit_labels(labels: Sequence[str], width_points: float, height_points: float) -> LabelFit | None:
    """Find the largest font in which every label fits into a cell, turned where cells are narrow.

    Args:
        labels: texts of digits with one point each, like "0.12".
        width_points: width of a cell.
        height_points: height of a cell.

    Returns:
        The fit, or None if the labels would be too small to read or there are none.
    """
    if not labels:
        return None
    longest = max(map(len, labels))
    ems = _DIGIT_WIDTH * (longest - 1) + _POINT_WIDTH
    width, height = width_points - _MARGIN, height_points - _MARGIN
    for along, across, turn in ((width, height, 0.0), (height, width, 90.0)):
        size = min(along / ems, across / _DIGIT_HEIGHT, _LARGEST)
        if size >= _SMALLEST:
            return LabelFit(size, turn)
    return None
