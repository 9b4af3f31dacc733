"""Draws a timeline as a text grid of time, so that golden schedules can be read."""

from gru_parallel.schedule import Timeline
from gru_parallel.schedule.draw import align


def draw_slots(timeline: Timeline, slot_ms: float = 1.0) -> str:
    """Draw one line per stage and one column per slot: idle slots are empty, and so is the bubble.

    An action that takes several slots has dashes in all but the first; hand-overs are left out.
    """
    start_ms = min((event.start_ms for event in timeline.events), default=0.0)
    rows: list[list[str]] = []
    for stage in range(timeline.n_stages):
        row: list[str] = []
        for event in timeline.stage_events(stage):
            if event.action.op.is_compute:
                first = round((event.start_ms - start_ms) / slot_ms)
                end = round((event.end_ms - start_ms) / slot_ms)
                row += [""] * (first - len(row))
                row += [str(event.action)] + ["-----"] * (end - first - 1)
        rows.append(row)
    return align(rows)
