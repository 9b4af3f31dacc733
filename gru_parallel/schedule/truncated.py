"""Truncated back-propagation through time: any schedule, over segments of chunks."""

from collections.abc import Callable
from dataclasses import replace

from gru_parallel.schedule.action import Action, Cell
from gru_parallel.schedule.segments import Segments

ScheduleFunction = Callable[[int, int, int], tuple[tuple[Action, ...], ...]]


def truncated(
    schedule: ScheduleFunction, n_stages: int, n_micro_batches: int, segments: Segments
) -> tuple[tuple[Action, ...], ...]:
    """Order the cells as `schedule` does, with a segment of chunks in the place of a micro-batch.

    dL/dh ends where a segment begins, so B of a segment waits for none of the segments after it,
    and a segment is to B what a micro-batch is. 1F1B over them keeps at most as many segments
    alive as there are stages, however long the window. With 1F1B, 2 stages, 1 micro-batch and 4
    chunks in segments of 1, F and B one slot each:

        stage 0 | 0F0.0 0F0.1       0B0.0 0F0.2 0B0.1 0F0.3 0B0.2       0B0.3
        stage 1 |       1F0.0 1B0.0 1F0.1 1B0.1 1F0.2 1B0.2 1F0.3 1B0.3

    Args:
        schedule: what orders the segments.
        n_stages: number of stages, S.
        n_micro_batches: number of micro-batches, M.
        segments: of the window's chunks.

    Returns:
        One tuple of actions a stage.

    Source: Williams and Peng, An Efficient Gradient-Based Algorithm for On-Line Training of
    Recurrent Network Trajectories, 1990, in the form where h is carried on and dL/dh is cut.
    """

    def in_window(action: Action) -> Action:
        micro_batch, segment = divmod(action.micro_batch, segments.n_segments)
        chunk = segment * segments.size + action.chunk
        return replace(action, cell=Cell(micro_batch, chunk))

    stages = schedule(n_stages, n_micro_batches * segments.n_segments, segments.size)
    return tuple(
        tuple(action for action in map(in_window, stage) if action.chunk < segments.n_chunks)
        for stage in stages
    )
