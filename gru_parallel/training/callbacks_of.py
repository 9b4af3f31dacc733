"""The callbacks of a Trainer, by their kind."""

from __future__ import annotations

from typing import TypeVar

import lightning.pytorch as pl

Kind = TypeVar("Kind", bound=pl.Callback)


def callbacks_of(trainer: pl.Trainer, kind: type[Kind]) -> list[Kind]:
    """Return the callbacks of a kind, in their order."""
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning's
    return [each for each in callbacks if isinstance(each, kind)]
