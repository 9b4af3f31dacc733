"""Zero bubble: 1F1B, with the weights' gradients where a stage would wait."""

from gru_parallel.schedule.action import Action, Op, backwards
from gru_parallel.schedule.one_f_one_b import one_f_one_b


def zero_bubble(
    n_stages: int, n_micro_batches: int, n_chunks: int
) -> tuple[tuple[Action, ...], ...]:
    """Order F and B as 1F1B does, and let W, which nothing waits for, fill the bubble.

    A stage whose next F or B cannot run yet takes the oldest W that is left instead. With 3 stages,
    3 micro-batches and 1 chunk, F, B and W taking one slot each:

        stage 0 | 0F0.0 0F1.0 0F2.0             0B0.0 0W0.0 0B1.0 0W1.0 0B2.0 0W2.0
        stage 1 |       1F0.0 1F1.0       1B0.0 1F2.0 1B1.0 1W0.0 1B2.0 1W1.0 1W2.0
        stage 2 |             2F0.0 2B0.0 2F1.0 2B1.0 2F2.0 2B2.0 2W0.0 2W1.0 2W2.0

    Args:
        n_stages: number of stages, S.
        n_micro_batches: number of micro-batches, M.
        n_chunks: number of chunks, C.

    Returns:
        One tuple of F, B and W per stage. Each stage is idle for 2(S-1) slots with one micro-batch,
        for S-1 with as many as stages; between, each micro-batch saves min(C, 2) slots. Stage s
        keeps at most min(M*C, (S-s)*C + s) cells from F to W: s more than in 1F1B, and never more
        than stage 0.

    Source: Qi et al., Zero Bubble Pipeline Parallelism, 2024 (ZB-H1), with chunks of time as
    further cells.
    """
    to_come = one_f_one_b(n_stages, n_micro_batches, n_chunks)
    cells = [a.cell for m in range(n_micro_batches) for a in backwards(0, m, n_chunks)]
    most_kept = [(n_stages - stage) * n_chunks + stage for stage in range(n_stages)]
    n_f, n_b, n_w = ([0] * n_stages for _ in range(3))
    lists: list[list[Action]] = [[] for _ in to_come]
    while min(n_w) < len(cells):
        # What has come to a stage before this slot; all stages take the cells of an op in one
        # order, and the batch and its loss are there for all of them.
        came_f, came_b = [len(cells), *n_f[:-1]], [*n_b[1:], len(cells)]
        for stage, order in enumerate(to_come):
            f, b, w = n_f[stage], n_b[stage], n_w[stage]
            due = order[f + b] if f + b < len(order) else None
            if due and due.op is Op.F and f < came_f[stage] and f - w < most_kept[stage]:
                n_f[stage] += 1
            elif due and due.op is Op.B and b < came_b[stage]:
                n_b[stage] += 1
            elif w < b:
                due = Action(stage, Op.W, cells[w])
                n_w[stage] += 1
            else:
                continue
            lists[stage].append(due)
    return tuple(map(tuple, lists))
