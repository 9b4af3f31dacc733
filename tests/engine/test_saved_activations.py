"""Activations that are really alive, counted by autograd's own hooks, against the simulator."""

import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import Windows
from gru_parallel.placement import Cluster, ModelSpec, cut_stack
from gru_parallel.planning import Planned
from gru_parallel.planning.analytic import AnalyticCosts
from gru_parallel.planning.cell_costs import Workload
from gru_parallel.schedule import SCHEDULES, Cell, build_schedule, simulate
from gru_parallel.stage.section import Parcel
from gru_parallel.stage.stage_pass import StagePass
from tests.builders import HIDDEN, MSE, N_CHANNELS, WIDTH, build_model, make_batch, make_plan
from tests.grids import covering

# Two rows a micro-batch at least: a cell of one row may be a view of the batch, which is no cell's.
BATCH_SIZE, N_STEPS = 16, 6


@dataclass
class Ledger:
    """What autograd keeps for backward on one stage, now and at most."""

    parameters: set[int]
    alive: Counter[Cell] = field(default_factory=Counter)
    storages: Counter[int] = field(default_factory=Counter)
    sizes: dict[int, int] = field(default_factory=dict)
    peak_cells: int = 0
    peak_bytes: int = 0

    def keep(self, cell: Cell, tensor: Tensor) -> "Kept":
        kept = Kept(self, cell, tensor)
        self.alive[cell] += 1
        self.storages[kept.storage] += 1
        self.sizes[kept.storage] = tensor.untyped_storage().nbytes()
        return kept

    def look(self) -> None:
        """Note what is alive between two actions."""
        self.peak_cells = max(self.peak_cells, sum(n > 0 for n in self.alive.values()))
        self.peak_bytes = max(self.peak_bytes, self.bytes)

    @property
    def bytes(self) -> int:
        """Bytes of the storages that something refers to; weights are there anyway."""
        alive = (storage for storage, n in self.storages.items() if n > 0)
        return sum(self.sizes[storage] for storage in alive if storage not in self.parameters)


class Kept:
    """A saved tensor; autograd lets go of it when it is no longer needed."""

    def __init__(self, ledger: Ledger, cell: Cell, tensor: Tensor) -> None:
        self.ledger, self.cell, self.tensor = ledger, cell, tensor
        self.storage = tensor.untyped_storage().data_ptr()

    def __del__(self) -> None:
        self.ledger.alive[self.cell] -= 1
        self.ledger.storages[self.storage] -= 1


@pytest.fixture
def ledgers(monkeypatch: pytest.MonkeyPatch) -> dict[int, Ledger]:
    """One ledger per stage, filled by every `StagePass.forward` from now on."""
    found: dict[int, Ledger] = {}
    forward = StagePass.forward

    def patched(own: StagePass, cell: Cell, received: Parcel | None) -> list[Parcel]:
        stage = own.stage
        parameters = {w.untyped_storage().data_ptr() for w in stage.modules.weights()}
        ledger = found.setdefault(stage.index, Ledger(parameters))
        # The hooks are thread-local, so they belong here, in the worker.
        assert threading.current_thread() is not threading.main_thread()
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: ledger.keep(cell, tensor), lambda kept: kept.tensor
        ):
            out = forward(own, cell, received)
        ledger.look()
        return out

    monkeypatch.setattr(StagePass, "forward", patched)
    return found


def run(schedule: str, n_stages: int, n_micro_batches: int, n_chunks: int) -> ThreadEngine:
    x, y = make_batch(BATCH_SIZE, N_STEPS)
    plan = make_plan([1] * n_stages, schedule, n_micro_batches, n_chunks)
    with ThreadEngine(build_model(n_stages), plan, MSE) as engine:
        engine.measure = True
        engine.train_step(Windows(x, y))
    return engine


@pytest.mark.parametrize(
    ("n_stages", "n_micro_batches", "n_chunks"), [(1, 2, 3), (2, 4, 1), (3, 4, 2), (4, 2, 3)]
)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_cells_really_alive_are_those_of_the_simulator(
    ledgers: dict[int, Ledger], schedule: str, n_stages: int, n_micro_batches: int, n_chunks: int
) -> None:
    engine = run(schedule, n_stages, n_micro_batches, n_chunks)

    built = build_schedule(schedule, n_stages, n_micro_batches, n_chunks)
    timeline = simulate(built, lambda _: 1.0)
    for stage in range(n_stages):
        simulated = timeline.peak_activations(stage)
        if built.separates_weights:
            # What B has let go of is not counted, and what it leaves for W is.
            assert ledgers[stage].peak_cells <= simulated
        else:
            assert ledgers[stage].peak_cells == simulated
        assert engine.peak_cells[stage] == simulated
        assert engine.timeline is not None
        assert engine.timeline.peak_activations(stage) == simulated


def test_all_activations_are_let_go_of_by_the_end_of_the_step(
    ledgers: dict[int, Ledger],
) -> None:
    # The engine, its timeline and all else of the step are still there.
    engine = run("gpipe", 2, 2, 3)

    assert engine.timeline is not None
    for ledger in ledgers.values():
        assert ledger.peak_bytes > 0
        assert ledger.bytes == 0


def test_1f1b_keeps_fewer_bytes_alive_than_gpipe_on_the_first_stage(
    ledgers: dict[int, Ledger],
) -> None:
    n_stages, n_micro_batches, n_chunks = 2, 8, 2
    bytes_alive = {}
    for schedule in ("gpipe", "one_f_one_b"):
        ledgers.clear()
        run(schedule, n_stages, n_micro_batches, n_chunks)
        bytes_alive[schedule] = [ledgers[stage].peak_bytes for stage in range(n_stages)]

    # 16 cells in GPipe; in 1F1B 4 on the first stage, and 2 on the last, where the loss also keeps
    # a view of the whole batch's targets.
    assert bytes_alive["one_f_one_b"][0] == bytes_alive["gpipe"][0] / 4
    assert bytes_alive["one_f_one_b"][1] < bytes_alive["gpipe"][1] / 4
    # All of a GRU's gates and outputs at least: 4 numbers a unit, step and row, of 8 bytes.
    assert bytes_alive["gpipe"][0] > 4 * BATCH_SIZE * N_STEPS * HIDDEN * 8


@covering(
    2,
    core=["native", "fused", "lean"],
    schedule=["gpipe", "one_f_one_b"],
    options=[{}, {"bidirectional": [False, True, False]}, {"h_0": ["zeros", "previous", "zeros"]}],
)
def test_a_plan_counts_the_bytes_that_a_core_really_keeps(
    ledgers: dict[int, Ledger], core: str, schedule: str, options: dict[str, Any]
) -> None:
    plan = make_plan([2, 1], schedule, 4, 3)
    model = build_model(3, core=core, dtype=torch.float32, **options)
    x, y = make_batch(BATCH_SIZE, N_STEPS, dtype=torch.float32)
    with ThreadEngine(model, plan, MSE) as engine:
        engine.train_step(Windows(x, y))

    blocks = cut_stack(WIDTH, HIDDEN, 3, **options)
    work = Workload(ModelSpec(blocks, N_CHANNELS), BATCH_SIZE, N_STEPS)
    cluster = Cluster.of(plan.all_devices)
    planned = Planned(replace(plan, core=core), work, cluster, AnalyticCosts(cluster))
    # On the last stage head and loss keep a little more.
    assert ledgers[0].peak_bytes == planned.stage_activation_bytes[0]
