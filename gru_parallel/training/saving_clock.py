"""When checkpoints are written, by a clock that is never set back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gru_parallel.errors import UsageError
from gru_parallel.training.checkpoint_file import read_checkpoint

_STEP_S = 1e-3
"""By how much a checkpoint is later at least than the one before; a float of this era tells it."""


def saved_at(path: Path) -> float:
    """Return when a checkpoint was written, as it says itself: a copied file has another time.

    Returns:
        Seconds since 1970; of a damaged one the time of the file, and 0 where that is gone.
    """
    try:
        return float(read_checkpoint(path, checks=False)["saved_at"])
    except (UsageError, KeyError, TypeError, ValueError):
        return path.stat().st_mtime if path.exists() else 0.0


def written_at(saved_at: float | None) -> str:
    """Return when a checkpoint was written as text, which tells it from all others of a run.

    Args:
        saved_at: as the checkpoint says, in seconds since 1970; None where it does not.
    """
    if saved_at is None:
        return "written at an unknown time"
    return f"written at {datetime.fromtimestamp(saved_at, UTC).isoformat()}"


class SavingClock:
    """Gives each checkpoint a later time than all before it in its folder and in its run.

    The clock of a machine is set back at times, or a run is resumed on another machine. By that
    clock alone, a checkpoint from before would stay the newest, and every restart resume from it.
    """

    def __init__(self) -> None:
        self._latest = 0.0
        self._known: set[Path] = set()

    def loaded(self, saved: Mapping[str, Any]) -> None:
        """Take note of a checkpoint that the run goes on from."""
        self._latest = max(self._latest, float(saved.get("saved_at", 0.0)))

    def now(self, folder: Path) -> float:
        """Return the time of a checkpoint that is about to be written.

        Args:
            folder: where it is written; the checkpoints there are read when it is first.

        Returns:
            Seconds since 1970.
        """
        if folder not in self._known:
            self._known.add(folder)
            self._latest = max([self._latest, *map(saved_at, folder.glob("*.ckpt"))])
        self._latest = max(time.time(), self._latest + _STEP_S)
        return self._latest
