"""What a plan demands of the ranks that run it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gru_parallel.errors import UsageError
from gru_parallel.model import StackModel
from gru_parallel.placement.plan import Plan
from gru_parallel.ranks import Launch
from gru_parallel.stage.stage import StageModules


def check_shared_weights(
    model: StackModel, modules: Sequence[StageModules], rank_of_each_stage: Sequence[int]
) -> None:
    """Check that no two ranks share a weight: each would have its own copy.

    Args:
        model: has the weights' names.
        modules: of each stage.
        rank_of_each_stage: of the first replica.

    Raises:
        UsageError: two ranks share one.
    """
    ranks: dict[Tensor, int] = {}
    for stage, rank in zip(modules, rank_of_each_stage, strict=True):
        for weight in {w for module in stage.all_modules for w in module.parameters()}:
            if ranks.setdefault(weight, rank) != rank:
                name = next(name for name, other in model.named_parameters() if other is weight)
                raise UsageError(
                    f"The weight {name} is shared by stages of ranks {ranks[weight]} and {rank} of"
                    " a pipeline, each of which would train its own copy; place what shares it on"
                    " one rank (placement.device_map), or use engine=threads."
                )


def device_of_rank(plan: Plan, launch: Launch) -> torch.device:
    """Return the device of a rank: the one of the plan's kind with the rank's local number.

    Raises:
        UsageError: the plan names devices of several kinds, or there is no device for the rank.
    """
    kinds = {torch.device(name).type for name in plan.all_devices}
    if len(kinds) > 1:
        raise UsageError(
            "engine=processes runs on devices of one kind, but the plan has"
            f" {', '.join(sorted(kinds))}; choose one kind in placement.device_map, or use"
            " engine=threads."
        )
    (kind,) = kinds
    if kind == "cpu":
        return torch.device("cpu")
    if any(stage.reverse_device is not None for stage in plan.stages):
        raise UsageError(
            "engine=processes gives each rank one GPU, but placement.device_map has two for one"
            " stage (with a +); give one device per block, or use engine=threads."
        )
    n_gpus = torch.accelerator.device_count()
    if launch.local_rank >= n_gpus:
        raise UsageError(
            f"rank {launch.rank} is number {launch.local_rank} on its machine, which has {n_gpus}"
            f" {kind} devices, and each rank needs its own; start at most {n_gpus} ranks per"
            " machine (torchrun --nproc-per-node), or let stages share a device in"
            " placement.device_map."
        )
    return torch.device(kind, launch.local_rank)
