"""Naive model parallelism, the baseline: one cell at a time in the whole pipeline."""

from gru_parallel.schedule.action import Action, backwards, forwards


def naive(n_stages: int, n_micro_batches: int, n_chunks: int) -> tuple[tuple[Action, ...], ...]:
    """Order the cells so that only one stage ever works, as a model cut by hand would run.

    By their lists alone, stages would overlap; but their Schedule has `one_at_a_time` set, so that
    a cell enters only when the one before has left. With 3 stages, 1 micro-batch and 2 chunks, F
    and B taking one slot each:

        stage 0 | 0F0.0             0F0.1                         0B0.1             0B0.0
        stage 1 |       1F0.0             1F0.1             1B0.1             1B0.0
        stage 2 |             2F0.0             2F0.1 2B0.1             2B0.0

    Args:
        n_stages: number of stages, S.
        n_micro_batches: number of micro-batches, M.
        n_chunks: number of chunks, C.

    Returns:
        One tuple of F and B per stage. The bubble is (S-1)/S; C cells are kept.
    """
    return tuple(_stage(stage, n_micro_batches, n_chunks) for stage in range(n_stages))


def _stage(stage: int, n_micro_batches: int, n_chunks: int) -> tuple[Action, ...]:
    order: list[Action] = []
    for micro_batch in range(n_micro_batches):
        order += forwards(stage, micro_batch, n_chunks)
        order += backwards(stage, micro_batch, n_chunks)
    return tuple(order)
