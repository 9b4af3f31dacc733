"""Which plans take part in all rounds, going by the one in which each ran once. Pure."""

from __future__ import annotations

from benchmarks.peers.variants import EngineVariant, Runner, TorchPipelining
from benchmarks.samples import Round
from benchmarks.variant import Variant


def fastest_of_each(tried: Round, n_plans: int) -> tuple[Variant, ...]:
    """Choose the fastest plans of each system.

    Args:
        tried: a step of every plan.
        n_plans: so many of each system.

    Returns:
        Those plans, and for each of `torch.distributed.pipelining` the same plan in processes of
        this library; in the order in which they ran.
    """
    plans: dict[str, list[Variant]] = {}
    for variant in sorted(tried.turns, key=lambda variant: tried.turns[variant].steps[0].wall_ms):
        plans.setdefault(variant.system, []).append(variant)
    fastest = {variant for own in plans.values() for variant in own[:n_plans]}
    shared = {variant.plan_name for variant in fastest if isinstance(variant, TorchPipelining)}
    return tuple(
        variant
        for variant in tried.turns
        if variant in fastest or (_in_processes(variant) and variant.plan_name in shared)
    )


def _in_processes(variant: Variant) -> bool:
    return isinstance(variant, EngineVariant) and variant.runner is Runner.PROCESSES
