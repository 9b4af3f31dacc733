"""Train stacks of GRUs over several devices, with the numbers that one `nn.GRU` would give."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gru_parallel.dropin.gru import GRU

__all__ = ["GRU"]


def __getattr__(name: str) -> Any:
    """Import `GRU` when it is first asked for: placement and schedule need no torch."""
    if name == "GRU":
        # Kept out of the import of the package, which would take torch's seconds.
        from gru_parallel.dropin.gru import GRU

        return GRU
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
