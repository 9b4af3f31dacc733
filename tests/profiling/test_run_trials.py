"""Plans are run in turns, and what their steps took is said."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from gru_parallel.model import LOSSES, Windows
from gru_parallel.placement import Cluster, Device, Grid, ModelSpec, Plan, StagePlan, cut_stack
from gru_parallel.placement.cluster import Machine
from gru_parallel.planning import Planned, Workload
from gru_parallel.profiling import trials as module
from gru_parallel.profiling.pipelines import Precision
from gru_parallel.profiling.trials import N_STEPS, run_trials
from gru_parallel.schedule import Timeline
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


def run(tried: list[Planned]) -> list[float | None]:
    made: list[str] = []

    def make(core: str) -> Any:
        made.append(core)
        return build_model(2, 1, core=core, dtype=torch.float32)

    found = run_trials(tried, make, windows(), LOSSES["mse"], Precision())

    assert [trial.plan for trial in found] == [each.plan for each in tried]
    assert made == list(dict.fromkeys(each.plan.core for each in tried))
    return [trial.step_ms for trial in found]


def test_each_plan_runs_with_its_own_cells_and_core() -> None:
    taken = run([planned(1), planned(3), planned(3, "lean")])

    assert all(ms is not None and ms > 0 for ms in taken)


def test_a_warm_step_of_each_turn_counts_and_the_median_of_all_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = iter([[90, 1, 2], [90, 7, 8], [90, 3, 4], [90, 5, 6]])
    clock = iter([0.0, 1.0, 5.0])
    monkeypatch.setattr(module, "SECONDS", 4.0)
    monkeypatch.setattr(module, "perf_counter", lambda: next(clock))
    _step_as_said(monkeypatch, turns)

    assert N_STEPS == 2
    assert run([planned(1), planned(2)]) == [2.5, 6.5]


def test_a_plan_that_has_no_room_is_said_to_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    _step_as_said(monkeypatch, iter([[torch.OutOfMemoryError()], [9, 4, 4]]))

    assert run([planned(1), planned(2)]) == [None, 4.0]


def _step_as_said(patch: pytest.MonkeyPatch, turns: Iterator[list[Any]]) -> None:
    """Let steps take so many milliseconds, turn by turn."""

    def steps(*_: object, **__: object) -> Iterator[Timeline]:
        for ms in next(turns):
            if isinstance(ms, Exception):
                raise ms
            yield cast(Timeline, SimpleNamespace(step_ms=ms))

    patch.setattr(module, "steps", steps)
