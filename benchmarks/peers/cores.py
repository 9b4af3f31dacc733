"""What of this library is measured: cores, and schedules that need one of its own. Pure."""

from __future__ import annotations

CORES: tuple[str | None, ...] = (None,)
"""What computes a layer, by its name; None for what the library takes by itself."""

USUAL_CORE: str | None = None
"""For plans that say more about the engine than about a core."""

NATIVE = "native"
"""torch's own, which works out the weights' gradients within B."""

RECOMPUTE: tuple[str, ...] = ()
"""What backward can compute again, by its name."""

WITH_W: tuple[str, ...] = ()
"""Schedules in which the weights' gradients are an action of their own."""
