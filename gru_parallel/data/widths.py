"""Widths: how many numbers a window has in each row, by what is known of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Widths:
    """How many numbers a window has in each row, by what is known of them.

    Attributes:
        n_channels: value columns, known up to the window's last row.
        n_targets: of these, the ones to forecast.
        n_known: numbers that are known ahead of the rows to forecast, too.
        n_static: numbers that are the same in all rows of a series; once for all of them.
    """

    n_channels: int
    n_targets: int
    n_known: int = 0
    n_static: int = 0
