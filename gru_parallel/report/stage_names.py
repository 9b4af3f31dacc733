"""The names of stages, and of what they hold, in tables, pictures and traces."""

from collections.abc import Sequence


def stage_names(n_stages: int, device_names: Sequence[str]) -> tuple[str, ...]:
    """Name each stage together with its device, as in `stage 0 (cuda:0)`.

    Raises:
        ValueError: there is not one device name for each stage.
    """
    if len(device_names) != n_stages:
        raise ValueError(
            f"{len(device_names)} device names for {n_stages} stages; give one for each stage."
        )
    return tuple(f"stage {stage} ({device})" for stage, device in enumerate(device_names))


def layer_span(layers: range) -> str:
    """Name consecutive layers: 4, or 0-3."""
    return f"{layers[0]}" if len(layers) == 1 else f"{layers[0]}-{layers[-1]}"
