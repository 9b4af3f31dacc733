"""How many chunks pay, where nobody says how many: schedule.n_chunks=auto."""

from math import ceil, floor, sqrt

from gru_parallel.placement.plan import Plan

CPU_CHUNKS = 8
CHUNK_COST = 0.016
"""What each chunk adds to a stage's time on an accelerator, as a share of it: on one H200, 8 chunks
in CUDA graphs cost 10 to 15 % more than one call."""


def default_chunks(plan: Plan, n_steps: int | None = None) -> int:
    """Return the number of chunks that a plan is to have, from its devices.

    On CPUs it is 8 however many there are, and with truncation anywhere, because what is cut off
    depends on it.

    Args:
        plan: stages, micro-batches and truncation.
        n_steps: of a window, the most chunks that there can be; None for no such limit.
    """
    names = plan.all_devices
    if plan.grid.truncate is not None or any(name.startswith("cpu") for name in names):
        n_chunks = CPU_CHUNKS
    else:
        # Stages that share a device take turns: cutting time does not make them overlap.
        n_chunks = fastest_chunks(len(set(plan.devices)), plan.grid.n_micro_batches)
    return n_chunks if n_steps is None else min(n_chunks, n_steps)


def fastest_chunks(n_stages: int, n_micro_batches: int = 1) -> int:
    """Return the number of chunks with which a step on accelerators takes the least time.

    With M micro-batches and C chunks a step takes (M C + S - 1) / (M C) times what one of S stages
    takes for its share, which C chunks make 1 + 0.016 C times as long.
    """
    n_others = n_stages - 1

    def step_time(n_chunks: int) -> float:
        return (1 + n_others / (n_micro_batches * n_chunks)) * (1 + CHUNK_COST * n_chunks)

    # Where its derivative is zero.
    best = sqrt(n_others / (n_micro_batches * CHUNK_COST))
    return min(max(1, floor(best)), max(1, ceil(best)), key=step_time)
