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
    anchor = x.mean(dim=1, keepdim=True)
    centred = x - anchor
    scale = (centred.square().mean(dim=1, keepdim=True) + LEAST_VARIANCE).sqrt()
    return centred / scale, anchor, scale


def at_level(
    y: Tensor, anchor: Tensor | None, scale: Tensor | None, targets: Sequence[int]
) -> Tensor:
    """Bring forecasts of some columns back to the level of their windows."""
    if scale is not None:
        y = y * scale[:, :, list(targets)]
    return y if anchor is None else y + anchor[:, :, list(targets)]
