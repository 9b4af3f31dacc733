"""Why a call is not recorded and replayed, by what is known of it before it runs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gru_parallel.choices import core_on
from gru_parallel.engine.context import modes_of_this_thread
from gru_parallel.stage.own_code import foreign_code
from gru_parallel.stage.spec import PassSpec, Purpose
from gru_parallel.stage.stage import Stage, StageModules


def why_not_recorded(
    spec: PassSpec,
    stages: Sequence[Stage],
    lasting: Sequence[Sequence[StageModules]],
    *,
    wanted: bool,
    gradients: bool,
) -> str | None:
    """Say why a call is not to be replayed, as a clause; None if nothing stands in the way.

    Args:
        spec: of the call.
        stages: that run in this process.
        lasting: the modules of all stages, as they have been made for this and earlier calls,
            whose weights stay in their memory.
        wanted: whether whatever runs is to be recorded.
        gradients: whether autograd records.
    """
    if _is_captured(stages):
        return "the caller records a graph"
    if gradients and any(map(_lacks_backward, stages)):
        return "in eval mode there is no B to record: cuDNN has none"
    if spec.purpose is Purpose.CHECK or spec.cells.batch_size == 0:
        return "such a call is rare"
    if spec.cells.lengths is not None:
        return "the lengths of a batch are those of no other"
    if spec.segments.n_segments > 1 and not wanted:
        return "truncation saves memory, which a recording would take"
    if modes_of_this_thread() or torch.is_anomaly_enabled() or _hooks_on_saved_tensors():
        return "something watches each operation, or each tensor that is kept for backward"
    here = [stage.modules for stage in stages]
    if not any(all(any(m is own for m in of_all) for own in here) for of_all in lasting):
        return "a weight is computed at each call, or lies elsewhere, or a module has hooks"
    blocks = [block for modules in here for block in modules.blocks]
    drawing = foreign_code(blocks, None) if spec.recompute else None
    if drawing is not None:
        return f"{drawing} may draw random numbers, in B other ones than in the F that it repeats"
    return None


def _is_captured(stages: Sequence[Stage]) -> bool:
    """Whether the caller records a CUDA graph of its own."""
    if all(stage.lane.device.type != "cuda" for stage in stages):
        return False
    return torch.cuda.is_current_stream_capturing()


def _lacks_backward(stage: Stage) -> bool:
    """Whether a block calls torch's operator in eval mode, whose backward cuDNN refuses."""
    return any(
        not block.training and core_on(stage.name, block.core) == "native"
        for block in stage.modules.blocks
    )


def _hooks_on_saved_tensors() -> bool:
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None
