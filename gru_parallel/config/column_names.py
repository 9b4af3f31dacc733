"""Names of columns in overrides: text, even where they look like numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

SETTINGS = ("columns", "series_column", "target", "time_column")
"""Those of the data that hold names of columns."""

_GIVES_NAMES = re.compile(rf"\+{{0,2}}data\.({'|'.join(SETTINGS)})=")
# Hydra takes 1_1 for 11, 1e3 for 1000.0, and True for a switch.
_NO_TEXT = re.compile(
    r"(?<=[=\[, ])([+-]?\.?\d[\w.+-]*|[+-]?(?:inf|nan)|true|false)(?=[,\] ]|$)", re.I
)


def as_text(overrides: Sequence[str]) -> list[str]:
    """Quote names of columns that Hydra would read as numbers or switches.

    Args:
        overrides: as on the command line; those with quotes of their own are left as they are.

    Returns:
        The overrides, in which such a name is the text that was written.
    """
    return [
        _NO_TEXT.sub(r"'\1'", text)
        if _GIVES_NAMES.match(text) and not {"'", '"'} & set(text)
        else text
        for text in overrides
    ]
