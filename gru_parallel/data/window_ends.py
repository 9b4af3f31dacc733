"""Which windows one part has of one series.

A window is identified by its end t: its inputs are the rows [t - input_length, t), and its targets
the rows from t on (task "window") or `horizon` rows after each input row (task "every_step"). No
window crosses from one series into another. One that would begin before its series does may be
shorter instead: `WindowShape.min_input_length`.
"""

from gru_parallel.data.parts import SeriesPart
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.errors import UsageError, check_positive


def window_ends(
    shape: WindowShape,
    part: SeriesPart,
    part_name: str,
    stride: int = 1,
    look_back: bool = True,
) -> range:
    """The ends t of the windows that one part has of one series.

    Targets are always in the part, and inputs never after it.

    Args:
        shape: extent of a window.
        part: rows of the part.
        part_name: its name for an error: training, validation or test.
        stride: rows from one window to the next.
        look_back: whether inputs may be in the part before.

    Returns:
        The ends, at least one.

    Raises:
        UsageError: the part is too short for one window, or the stride is not positive.
    """
    check_positive("data.stride", stride)
    if part.ends is not None:
        return part.ends
    rows = part.rows
    first = shape.first_end(rows.start, oldest_input(part, look_back))
    ends = range(first, rows.stop - shape.horizon + 1, stride)
    if not ends:
        of_series = f" of series {part.series!r}" if part.series else ""
        setting = "min_input_length" if shape.may_be_short else "input_length"
        remedy = "use smaller ones, or change data.split"
        if part.series:
            remedy = "use smaller ones, change data.split, or leave the series out"
        raise UsageError(
            f"The {part_name} part{of_series} has {len(rows)} rows, but a window of data.{setting}="
            f"{shape.shortest} and data.horizon={shape.horizon} needs "
            f"{first + shape.horizon - rows.start}; {remedy}."
        )
    return ends


def oldest_input(part: SeriesPart, look_back: bool) -> int:
    """The first row that may be an input of a window of this part."""
    return part.series_start if look_back else part.rows.start
