"""Draws any schedule of the registry: for training or a part of it, truncated or with barriers."""

from hypothesis import strategies as st

from gru_parallel.schedule import (
    SCHEDULES,
    Schedule,
    backward_only,
    build_schedule,
    forward_only,
)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Draw a schedule that is not lowered."""
    n_stages = draw(st.integers(1, 4))
    n_chunks = draw(st.integers(1, 4))
    truncate = draw(st.none() | st.integers(1, n_chunks))
    stages = st.frozensets(st.integers(0, n_stages - 1))
    schedule = build_schedule(
        draw(st.sampled_from(sorted(SCHEDULES))),
        n_stages,
        draw(st.integers(1, 3)),
        n_chunks,
        truncate,
        draw(stages) if truncate is None else frozenset(),
    )
    parts = (forward_only, backward_only)
    return draw(st.sampled_from([schedule, *(part(schedule) for part in parts)]))
