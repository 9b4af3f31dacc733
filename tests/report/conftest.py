"""What the tests of reports share: timelines of a given grid, and tables as the user sees them."""

from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

from gru_parallel.schedule import Action, Op, Timeline, build_schedule, lower, simulate

COST_MS = {Op.F: 1.0, Op.B: 2.0, Op.W: 0.5}
HAND_OVER_MS = 0.25


@pytest.fixture
def simulated() -> Callable[..., Timeline]:
    """Simulate a step with F of 1 ms, B of 2, W of 0.5 and, where lowered, hand-overs of 0.25."""

    def run(
        n_stages: int,
        n_micro_batches: int,
        n_chunks: int,
        lowered: bool = False,
        name: str = "gpipe",
    ) -> Timeline:
        schedule = build_schedule(name, n_stages, n_micro_batches, n_chunks)
        return simulate(lower(schedule) if lowered else schedule, cost_ms)

    def cost_ms(action: Action) -> float:
        return COST_MS.get(action.op, HAND_OVER_MS)

    return run


@pytest.fixture
def show() -> Callable[..., str]:
    """Print a table as on a terminal of 80 columns, by default without its styles."""

    def as_text(table: Table, styles: bool = False) -> str:
        screen = StringIO()
        Console(
            file=screen,
            width=80,
            force_terminal=styles,
            color_system="standard" if styles else None,
            # As if in no particular terminal, whatever the tests run in.
            _environ={},
        ).print(table)
        return screen.getvalue()

    return as_text
