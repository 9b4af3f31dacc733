"""Lengths of the sequences of a ragged batch. Pure."""

from __future__ import annotations

import random

from benchmarks.shapes import Shape


def spread_lengths(shape: Shape) -> tuple[int, ...]:
    """Spread lengths evenly over 1 to T, in an order that is random but always the same."""
    most_gaps = max(1, shape.batch_size - 1)
    lengths = [
        shape.n_steps - row * (shape.n_steps - 1) // most_gaps for row in range(shape.batch_size)
    ]
    random.Random(1).shuffle(lengths)
    return tuple(lengths)
