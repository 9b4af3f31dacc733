"""1F1B: after a warm-up, one micro-batch forward and one backward in turn."""

from gru_parallel.schedule.action import Action, backwards, forwards


def one_f_one_b(
    n_stages: int, n_micro_batches: int, n_chunks: int
) -> tuple[tuple[Action, ...], ...]:
    """Order the micro-batches as 1F1B does, all chunks of one together.

    A stage runs ahead by as many micro-batches as there are stages after it, then every F is
    followed by a B. The bubble is that of GPipe, but the number of stages, not of micro-batches,
    bounds what is kept. With 3 stages, 4 micro-batches and 1 chunk, F and B taking one slot each:

        stage 0 | 0F0.0 0F1.0 0F2.0             0B0.0 0F3.0 0B1.0       0B2.0       0B3.0
        stage 1 |       1F0.0 1F1.0       1B0.0 1F2.0 1B1.0 1F3.0 1B2.0       1B3.0
        stage 2 |             2F0.0 2B0.0 2F1.0 2B1.0 2F2.0 2B2.0 2F3.0 2B3.0

    Args:
        n_stages: number of stages, S.
        n_micro_batches: number of micro-batches, M.
        n_chunks: number of chunks, C.

    Returns:
        One tuple of F and B per stage. Stage s keeps at most min(M, S-s)*C cells.

    Source: Narayanan et al., PipeDream: Generalized Pipeline Parallelism for DNN Training, 2019;
    with a flush at the end of the step, as in Narayanan et al., Memory-Efficient
    Pipeline-Parallel DNN Training, 2021 (PipeDream-Flush).
    """
    return tuple(
        _stage(stage, min(n_micro_batches, n_stages - 1 - stage), n_micro_batches, n_chunks)
        for stage in range(n_stages)
    )


def _stage(stage: int, n_warm_up: int, n_micro_batches: int, n_chunks: int) -> tuple[Action, ...]:
    order: list[Action] = []
    for ahead in range(n_warm_up):
        order += forwards(stage, ahead, n_chunks)
    for micro_batch in range(n_micro_batches):
        if micro_batch + n_warm_up < n_micro_batches:
            order += forwards(stage, micro_batch + n_warm_up, n_chunks)
        order += backwards(stage, micro_batch, n_chunks)
    return tuple(order)
