"""What the processes engine is meant to reach against the peer, and whether it does. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.same_plan import CHUNKED, best_peer, same_plans
from benchmarks.shapes import Shape
from benchmarks.summary import ShapeSummary
from benchmarks.targets import Verdict

MIN_SPEEDUP_AT_SAME_PLAN = 1.0

MIN_SPEEDUP_IN_CHUNKS = {
    Shape(128, 32, 96, 4): 1.4,
    Shape(256, 64, 96, 4): 1.4,
    Shape(128, 4, 512, 4): 2.0,
}
"""Of M=1 in 16 chunks of time against the peer at its best M."""


def judge_all(summaries: Sequence[ShapeSummary]) -> tuple[Verdict, ...]:
    """Hold all shapes against the targets."""
    return tuple(verdict for summary in summaries for verdict in judge(summary))


def judge(summary: ShapeSummary) -> Iterator[Verdict]:
    """Hold a shape's numbers against the targets.

    Without chunks the plan that does worst decides. With them the peer's fastest M does; where that
    is 1, at which its ranks take turns, the words tell its fastest M above 1, too.
    """
    plans = list(same_plans(summary))
    speedup, plan = min(
        (same.processes.speedup_over(same.peer).median, same.variant.plan_name)
        for same in plans
        if same.peer is not None
    )
    yield Verdict(
        summary.shape,
        "without chunks, not slower than the peer on the same plan",
        f"{speedup:.2f} x ({plan})",
        speedup >= MIN_SPEEDUP_AT_SAME_PLAN,
    )
    wanted = MIN_SPEEDUP_IN_CHUNKS.get(summary.shape)
    if wanted is not None:
        (chunked,) = (same.processes for same in plans if same.variant == CHUNKED)
        against_peers = [
            (chunked.speedup_over(peer).median, peer.name)
            for peer in (best_peer(summary), best_peer(summary, at_least=2))
            if peer is not None
        ]
        yield Verdict(
            summary.shape,
            f"M=1 in 16 chunks: at least {wanted} x as fast as the peer at its best M",
            "; ".join(
                f"{speedup:.2f} x ({name})" for speedup, name in dict.fromkeys(against_peers)
            ),
            against_peers[0][0] >= wanted,
        )
