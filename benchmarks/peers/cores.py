"""What of this library is measured: cores, and schedules that need one of its own. Pure."""

from __future__ import annotations

CORES: tuple[str | None, ...] = ("native", "fused", "lean")
"""What computes a layer, by its name; None would be what the library takes by itself."""

USUAL_CORE: str | None = "fused"
"""For plans that say more about the engine than about a core."""

NATIVE = "native"
"""torch's own, which works out the weights' gradients within B."""

RECOMPUTE: tuple[str, ...] = ("cell",)
"""What backward can compute again, by its name."""

WITH_W: tuple[str, ...] = ("zero_bubble",)
"""Schedules in which the weights' gradients are an action of their own."""
