"""The shapes at which `peers` measures, by name. Pure."""

from __future__ import annotations

from benchmarks.shapes import Shape

SHAPES = {
    # Those of the targets come first: what they leave of the time goes to the others.
    "middle": Shape(128, 32, 96, 4),
    "large": Shape(256, 64, 96, 4),
    "few-rows": Shape(128, 4, 512, 4),
    "small": Shape(64, 32, 96, 4),
    "wide": Shape(256, 32, 96, 4),
    "widest": Shape(512, 64, 48, 4),
    "many-rows": Shape(64, 128, 96, 8),
    "deep": Shape(128, 32, 96, 8),
    "deepest": Shape(64, 32, 512, 16),
    "long": Shape(64, 4, 4_096, 4),
    "wide-few-rows": Shape(512, 4, 96, 4),
}
"""Not every combination, but every value that is asked for: H 64 to 512, B 4 to 128, T 48 to 4,096,
L 4 to 16."""


def parse_shape(text: str) -> Shape:
    """Read the name of a shape, or H,B,T,L.

    Raises:
        UsageError: it is neither.
    """
    return SHAPES[text] if text in SHAPES else Shape.parse(text)
