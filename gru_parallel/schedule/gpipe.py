"""GPipe: all forwards, then all backwards."""

from gru_parallel.schedule.action import Action, backwards, forwards


def gpipe(n_stages: int, n_micro_batches: int, n_chunks: int) -> tuple[tuple[Action, ...], ...]:
    """Order the cells as GPipe does, so that every stage keeps all of them alive for a while.

    With 3 stages, 2 micro-batches and 2 chunks, F and B taking one slot each:

        stage 0 | 0F0.0 0F0.1 0F1.0 0F1.1                         0B0.1 0B0.0 0B1.1 0B1.0
        stage 1 |       1F0.0 1F0.1 1F1.0 1F1.1             1B0.1 1B0.0 1B1.1 1B1.0
        stage 2 |             2F0.0 2F0.1 2F1.0 2F1.1 2B0.1 2B0.0 2B1.1 2B1.0

    Args:
        n_stages: number of stages, S.
        n_micro_batches: number of micro-batches, M.
        n_chunks: number of chunks, C.

    Returns:
        One tuple of F and B per stage. The bubble is (S-1)/(M*C+S-1); M*C cells are kept.

    Source: Huang et al., GPipe: Efficient Training of Giant Neural Networks using Pipeline
    Parallelism, 2019, with chunks of time as further cells.
    """
    return tuple(_stage(stage, n_micro_batches, n_chunks) for stage in range(n_stages))


def _stage(stage: int, n_micro_batches: int, n_chunks: int) -> tuple[Action, ...]:
    order: list[Action] = []
    for micro_batch in range(n_micro_batches):
        order += forwards(stage, micro_batch, n_chunks)
    for micro_batch in range(n_micro_batches):
        order += backwards(stage, micro_batch, n_chunks)
    return tuple(order)
