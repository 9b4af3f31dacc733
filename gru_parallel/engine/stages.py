"""Makes the stages of a plan, and the schedule that they run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch

from gru_parallel.engine.assistant import Assistant
from gru_parallel.engine.torch_device import torch_device
from gru_parallel.errors import UsageError
from gru_parallel.model import StackModel
from gru_parallel.placement import Plan, StagePlan
from gru_parallel.planning import check_reverse_devices, check_weights_can_wait
from gru_parallel.schedule import (
    Op,
    Schedule,
    backward_only,
    build_schedule,
    forward_only,
    lower,
    validate,
)
from gru_parallel.stage.cells import Cells
from gru_parallel.stage.lane import make_lane
from gru_parallel.stage.own_code import foreign_code
from gru_parallel.stage.stage import Stage, StageModules


def make_stages(
    plan: Plan, modules: Sequence[StageModules], device: torch.device | None = None
) -> list[Stage]:
    """Give each stage of a plan its device.

    Args:
        plan: which device each stage is on.
        modules: of each stage.
        device: that all stages compute on, whatever the plan calls theirs; None for the plan's.

    Returns:
        The stages in order; nothing is moved yet.
    """
    return [
        Stage(
            index,
            placed.device_text,
            modules_here,
            make_lane(device or torch_device(placed.device)),
            is_last=index == plan.n_stages - 1,
            second_device=_second_device(placed),
        )
        for index, (placed, modules_here) in enumerate(zip(plan.stages, modules, strict=True))
    ]


def modules_of_stages(model: StackModel, plan: Plan) -> list[StageModules]:
    """Hand each stage of the plan its modules of the model.

    Raises:
        UsageError: the model has another number of blocks than the plan, a stage has a device for a
            reverse direction and no bidirectional block, or the schedule separates W and a block's
            core does not.
    """
    blocks, states = model.gru.gru_blocks, model.gru.state_slices
    if len(blocks) != plan.n_blocks:
        raise UsageError(
            f"The plan places {plan.n_blocks} blocks, the model has {len(blocks)};"
            " make the plan for this model."
        )
    check_reverse_devices(plan, [block.n_directions == 2 for block in blocks])
    check_weights_can_wait(
        plan, [None if foreign_code([block], None) else block.core for block in blocks]
    )
    carries = model.gru.carries
    modules = []
    for index, placed in enumerate(plan.stages):
        here = slice(placed.blocks.start, placed.blocks.stop)
        after = blocks[here.stop : here.stop + 1]
        modules.append(
            StageModules(
                encoder=model.encoder if index == 0 else None,
                blocks=blocks[here],
                states=states[here],
                head=None if after else model.head,
                gives_state=any(block.h_0 == "previous" for block in after),
                carries=carries,
            )
        )
    return modules


def lowered_schedule(
    plan: Plan, stages: Sequence[Stage], cells: Cells, only: Op | None = None
) -> Schedule:
    """Return what each stage does with a batch.

    Args:
        plan: names the schedule.
        stages: of the plan; whose blocks are barriers in time is seen from them.
        cells: of the batch.
        only: F, or B (and W with it), for one half of the step; None for both.

    Returns:
        The schedule, sends and receives included.

    Raises:
        UsageError: the schedule does not go with the blocks.
    """
    barriers = frozenset(stage.index for stage in stages if stage.modules.is_barrier)
    return _lowered(
        plan.grid.schedule,
        len(stages),
        cells.n_micro_batches,
        cells.n_chunks,
        plan.grid.truncate,
        barriers,
        only,
    )


@cache
def _lowered(
    name: str,
    n_stages: int,
    n_micro_batches: int,
    n_chunks: int,
    truncate: int | None,
    barriers: frozenset[int],
    only: Op | None,
) -> Schedule:
    training = build_schedule(name, n_stages, n_micro_batches, n_chunks, truncate, barriers)
    part = {None: lambda whole: whole, Op.F: forward_only, Op.B: backward_only}[only]
    schedule = lower(part(training))
    validate(schedule)
    return schedule


def _second_device(placed: StagePlan) -> Assistant | None:
    if placed.reverse_device is None:
        return None
    return Assistant(placed.reverse_device, make_lane(torch_device(placed.reverse_device)))
