"""What a window is relative to, in operators that every format of an export has."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gru_parallel.choices import LEAST_VARIANCE


def centred_by(centre: str, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Make windows relative to their level.

    Args:
        centre: one of `CENTRES`.
        x: shape `(batch, time, columns)`.

    Returns:
        centred: of the shape of x.
        anchor: what was subtracted, shape `(batch, 1, columns)`; None for nothing.
        scale: what they were then divided by, of the same shape; None for nothing.
    """
    if centre == "none":
        return x, None, None
    if centre == "last":
        anchor = x[:, -1:]
        return x - anchor, anchor, None
    if centre == "scale":
        scale = 1 + x.abs().mean(dim=1, keepdim=True)
        return x / scale, None, scale
    anchor = x.mean(dim=1, keepdim=True)
    centred = x - anchor
    scale = (centred.square().mean(dim=1, keepdim=True) + LEAST_VARIANCE).sqrt()
    return centred / scale, anchor, scale


def columns_of(level: Tensor | None, targets: Sequence[int]) -> Tensor | None:
    """Return what windows are relative to, for the columns that are forecast."""
    return None if level is None else level[:, :, list(targets)]


def at_level(y: Tensor, anchor: Tensor | None, targets: Sequence[int]) -> Tensor:
    """Bring forecasts of some columns back to the level of their windows.

    Args:
        y: shape `(batch, time, targets)`, or with several numbers `(batch, time, targets,
            numbers)`.
        anchor: of all columns, see `centred_by`.
        targets: positions of the columns that are forecast.
    """
    level = columns_of(anchor, targets)
    return y if level is None else y + for_each_number(level, y)


def for_each_number(by_target: Tensor, y: Tensor) -> Tensor:
    """Return what each target has so that it meets all numbers of its forecasts."""
    return by_target.unsqueeze(-1) if y.dim() == 4 else by_target
