"""Truncated back-propagation through time: any schedule, over segments of chunks."""

from collections.abc import Callable

from gru_parallel.schedule.action import Action, Cell
from gru_parallel.schedule.segments import Segments

ScheduleFunction = Callable[[int, int, int], tuple[tuple[Action, ...], ...]]


def truncated(
    schedule: ScheduleFunction, n_stages: int, n_micro_batches: int, segments: Segments
) -> tuple[tuple[Action, ...], ...]:
    """Order the cells as `schedule` does, with segments of chunks instead of micro-batches.

    dL/dh ends where a segment begins, so B of a segment does not wait for later segments, as B of a
    micro-batch does not wait for others. 1F1B over segments keeps at most as many of them as there
    are stages, however long the window. With 1F1B, 2 stages, 1 micro-batch and 4 chunks in segments
    of 1, F and B taking one slot each:

        stage 0 | 0F0.0 0F0.1       0B0.0 0F0.2 0B0.1 0F0.3 0B0.2       0B0.3
        stage 1 |       1F0.0 1B0.0 1F0.1 1B0.1 1F0.2 1B0.2 1F0.3 1B0.3

    Args:
        schedule: orders the segments.
        n_stages: number of stages, S.
        n_micro_batches: number of micro-batches, M.
        segments: of the window's chunks.

    Returns:
        One tuple of actions per stage.

    Source: Williams and Peng, An Efficient Gradient-Based Algorithm for On-Line Training of
    Recurrent Network Trajectories, 1990, in the form in which h flows on and dL/dh is cut.
    """
    if segments.n_segments == 1:
        return schedule(n_stages, n_micro_batches, segments.n_chunks)

    def in_window(action: Action) -> Action:
        micro_batch, segment = divmod(action.micro_batch, segments.n_segments)
        chunk = segment * segments.size + action.chunk
        return action._replace(cell=Cell(micro_batch, chunk))

    stages = schedule(n_stages, n_micro_batches * segments.n_segments, segments.size)
    return tuple(
        tuple(action for action in map(in_window, stage) if action.chunk < segments.n_chunks)
        for stage in stages
    )
