"""The gradients of what a step was called with, put together from those of the cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gru_parallel.stage.cells import over_the_batch
from gru_parallel.stage.stage_pass import Batch, StagePass
from gru_parallel.stage.tail import HeadTail, targets_gradient


def head_tail(passes: Sequence[StagePass]) -> HeadTail | None:
    """Return the head of the last stage, where that stage is among the passes."""
    tail = passes[-1].tail if passes else None
    assert tail is None or isinstance(tail, HeadTail)
    return tail


def gradients_of_inputs(
    passes: Sequence[StagePass], batch: Batch, sources: Mapping[str, Tensor | None]
) -> list[Tensor | None]:
    """Return the gradient of each source that there is, as far as these stages have it."""
    tail = head_tail(passes)
    found: dict[str, Tensor] = {}
    if batch.wants_dx and passes and passes[0].dx:
        found["x"] = over_the_batch(passes[0].dx, batch.cells).transpose(0, 1)
    if batch.wants_dy and tail is not None and batch.y is not None:
        found["y"] = targets_gradient(tail, batch.y, batch.cells)
    h_0 = sources["h_0"]
    given = (block for each in passes for block in each.stage.modules.blocks)
    if h_0 is not None and h_0.requires_grad and any(block.h_0 == "given" for block in given):
        found["h_0"] = _dh_0(passes, h_0)
    return [
        found[name].to(source.device) if name in found else None
        for name, source in sources.items()
        if source is not None
    ]


def _dh_0(passes: Sequence[StagePass], h_0: Tensor) -> Tensor:
    """Return the gradient of a batch's h_0; zeros for the states of stages elsewhere."""
    whole = torch.zeros_like(h_0)
    for each in passes:
        states = each.stage.modules.states
        whole[states[0].start : states[-1].stop] = each.dh_0()
    return whole
