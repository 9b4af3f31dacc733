"""Writes results as strict JSON, in which there are no NaN and no infinite numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gru_parallel.whole_file import write_text


def write_json(entries: Mapping[str, Any], path: Path | str) -> None:
    """Write entries as strict JSON: NaN and infinite numbers become null."""
    text = json.dumps(_strict(dict(entries)), indent=2, allow_nan=False)
    write_text(text + "\n", path)


def _strict(value: object) -> object:
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
