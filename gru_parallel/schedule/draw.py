"""The lists of a schedule as a text grid, for messages: one row per stage."""

from collections.abc import Collection, Sequence

from gru_parallel.schedule.action import Action

_CONTEXT = 6  # columns shown on either side of a mark: about what a terminal holds


def draw_lists(
    actions: Sequence[Sequence[Action]], marked: Collection[tuple[int, int]] = ()
) -> str:
    """Draw the stages' lists, the n-th action of each in column n.

    Lists that cannot run have no time yet, so a column here is a position in a list, not a time.

    Args:
        actions: one list of actions per stage.
        marked: (stage, position in its list) of the actions to mark, like >1B0.2<. Columns far
            from all of them are left out; without marks, all columns are there.

    Returns:
        One line per stage.
    """
    rows = [
        [f">{action}<" if (stage, slot) in marked else str(action) for slot, action in enumerate(r)]
        for stage, r in enumerate(actions)
    ]
    if not marked:
        return align(rows)
    first = max(min(slot for _, slot in marked) - _CONTEXT, 0)
    end = max(slot for _, slot in marked) + _CONTEXT + 1
    shown = [["..."] * (first > 0) + row[first:end] + ["..."] * (len(row) > end) for row in rows]
    return align(shown)


def align(rows: Sequence[Sequence[str]]) -> str:
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
