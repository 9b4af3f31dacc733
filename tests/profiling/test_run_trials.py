"""Plans are run in turns, and what their steps took is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from gru_parallel.model import LOSSES, Windows
from gru_parallel.placement import Cluster, Device, Grid, ModelSpec, Plan, StagePlan, cut_stack
from gru_parallel.placement.cluster import Machine
from gru_parallel.planning import Planned, Workload
from gru_parallel.planning.trials import digest
from gru_parallel.profiling import trials as module
from gru_parallel.profiling.pipelines import Precision
from gru_parallel.profiling.trials import N_STEPS, run_trials
from tests.affine_costs import AffineCosts
from tests.builders import HORIZON, N_CHANNELS, N_TARGETS, build_model

N_ROWS, LENGTH = 4, 6


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)


def planned(n_chunks: int, core: str = "fused") -> Planned:
    stages = (StagePlan("cpu:0", 0, 1), StagePlan("cpu:1", 1, 1))
    plan = Plan(2, Grid(1, "one_f_one_b", 1, n_chunks), stages, core)
    cluster = Cluster((Device("cpu:0", "cpu"), Device("cpu:1", "cpu")), (Machine(2),))
    work = Workload(ModelSpec(cut_stack(4, 4, 2)), N_ROWS, LENGTH)
    return Planned(plan, work, cluster, AffineCosts())


def windows() -> Windows:
    x = torch.zeros(N_ROWS, LENGTH, N_CHANNELS)
    return Windows(x, torch.zeros(N_ROWS, HORIZON, N_TARGETS))


def run(tried: list[Planned], graphs: bool | None = None) -> list[float | None]:
    made: list[str] = []

    def make(core: str) -> Any:
        made.append(core)
        return build_model(2, 1, core=core, dtype=torch.float32)

    found = run_trials(tried, make, windows(), LOSSES["mse"], Precision(), graphs)

    assert [trial.plan for trial in found] == [each.plan for each in tried]
    assert {trial.model for trial in found} == {digest(tried[0].workload.model)}
    assert made == list(dict.fromkeys(each.plan.core for each in tried))
    return [trial.step_ms for trial in found]


def test_each_plan_runs_with_its_own_cells_and_core() -> None:
    taken = run([planned(1), planned(3), planned(3, "lean")])

    assert all(ms is not None and ms > 0 for ms in taken)


def test_a_warm_step_of_each_turn_counts_and_the_median_of_all_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The first turn takes 0.242 s in all.
    monkeypatch.setattr(module, "SECONDS", 0.3)
    _step_as_said(monkeypatch, iter([[90, 10, 11], [90, 20, 21], [90, 30, 31], [90, 20.5, 21.5]]))

    assert N_STEPS == 2
    assert run([planned(1), planned(2)]) == pytest.approx([20.5, 20.75])


def test_a_plan_that_has_no_room_is_said_to_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    _step_as_said(monkeypatch, iter([[torch.OutOfMemoryError()], [9, 4, 4]]))

    assert run([planned(1), planned(2)]) == [None, pytest.approx(4.0)]


def test_a_plan_that_replays_is_recorded_as_the_run_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _step_as_said(monkeypatch, iter(4 * [[1, 1, 1]]))
    replayed = replace(planned(1), replays=True)

    for graphs in (None, True):
        run([replayed, planned(1)], graphs)

    assert asked == [None, False, True, False]


def _step_as_said(patch: pytest.MonkeyPatch, turns: Iterator[list[Any]]) -> list[bool | None]:
    """Let steps take so many milliseconds, turn by turn; return which graphs were asked for."""
    clock, asked = [0.0], []

    def steps(*_: object, graphs: bool | None, waits: bool) -> Iterator[None]:
        assert not waits
        asked.append(graphs)
        for ms in next(turns):
            if isinstance(ms, Exception):
                raise ms
            clock[0] += 1e-3 * ms
            yield

    patch.setattr(module, "perf_counter", lambda: clock[0])
    patch.setattr(module, "steps", steps)
    return asked
