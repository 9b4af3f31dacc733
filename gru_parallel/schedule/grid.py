"""Schedules and timelines as text grids: a row for each stage, a column for each slot."""

from collections.abc import Collection, Sequence

from gru_parallel.schedule.action import Action
from gru_parallel.schedule.timeline import Timeline

_CONTEXT = 6  # columns shown on either side of a mark: about what a terminal holds


def draw_lists(
    actions: Sequence[Sequence[Action]], marked: Collection[tuple[int, int]] = ()
) -> str:
    """Draw the stages' lists, the n-th action of each in column n.

    Lists that cannot run have no time yet, so a column here is a place in a list, not a time.

    Args:
        actions: one list of actions a stage.
        marked: (stage, place in its list) of the actions to mark, like >1B0.2<. Columns far
            from all of them are left out; without marks, all columns are there.

    Returns:
        One line a stage.
    """
    rows = [
        [f">{action}<" if (stage, slot) in marked else str(action) for slot, action in enumerate(r)]
        for stage, r in enumerate(actions)
    ]
    if not marked:
        return _align(rows)
    first = max(min(slot for _, slot in marked) - _CONTEXT, 0)
    end = max(slot for _, slot in marked) + _CONTEXT + 1
    shown = [["..."] * (first > 0) + row[first:end] + ["..."] * (len(row) > end) for row in rows]
    return _align(shown)


def draw_slots(timeline: Timeline, slot_ms: float = 1.0) -> str:
    """Draw a timeline as a grid of time: idle slots are empty, and so the bubble can be seen.

    Args:
        timeline: what ran when; hand-overs are left out.
        slot_ms: length of a column. An action that takes several has dashes in all but the first.

    Returns:
        One line a stage.
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
    return _align(rows)


def _align(rows: Sequence[Sequence[str]]) -> str:
    """Pad every column to its widest text and put the stage in front of each row."""
    widths = [
        max(len(row[column]) for row in rows if column < len(row))
        for column in range(max(map(len, rows), default=0))
    ]
    lines: list[str] = []
    for stage, row in enumerate(rows):
        padded = [text.ljust(widths[column]) for column, text in enumerate(row)]
        lines.append(" ".join([f"stage {stage} |", *padded]).rstrip())
    return "\n".join(lines)
