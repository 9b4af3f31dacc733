"""What a rank of test_processes.py runs: all cases of its world, and at last a stage that fails.

    python -m tests.processes.process_world FOLDER [KIND]

Each rank leaves what came out of each case in the folder. With the kind `long`, it runs the cases
of `make test-long`, too. With a kind of device, `cpu` or `cuda`, it runs those cases alone that
need no more than one of them for each rank.
"""

from __future__ import annotations

import re
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gru_parallel.engine import graphs
from gru_parallel.errors import UsageError
from gru_parallel.model import GRUStack, StackModel, WindowHead, Windows
from gru_parallel.planning import RankMap
from gru_parallel.processes.ordered_sum import OrderedSum
from gru_parallel.processes.process_engine import ProcessEngine
from gru_parallel.ranks import Launch, Ranks, join
from gru_parallel.schedule import Cell
from tests.builders import MSE, build_model, make_batch, make_plan
from tests.engine.patches import before_each_back, failing_backward, failing_forward
from tests.engine.twists import ACROSS_STAGES, Seen, twisted
from tests.engine.twists import train as train_twisted
from tests.processes.process_cases import (
    ALONE,
    CASES_OF_WORLD,
    LONG,
    ORDINARY_TWISTS,
    SEED,
    TERMS,
    TWISTS_OF_WORLD,
    TWO_GPUS,
    Case,
    Outcome,
    first_nonfinite_stages,
    path_of,
    train,
)
from tests.rank_groups import groups_end_here

TIMEOUT_S = 20.0
OVERLAP_WITHIN_S = 10.0

OVERLAPPING = Case((2, 2), devices=("cpu:0", "cpu:0"), shares=(3, 2))
LARGE_HIDDEN, LARGE_LAYERS = 512, 24

graphs.N_EAGER = 1


class Broken(Exception):
    """What a block is broken with."""


def make_engine(case: Case, ranks: Ranks) -> tuple[ProcessEngine, slice]:
    """Make this rank's engine; return it and its rows of a full batch."""
    rank_map = RankMap(case.plan, len(case.shares), ranks.world_size)
    rows = case.rows(rank_map.replica(ranks.rank))
    engine = ProcessEngine(
        case.build_model(),
        case.plan,
        MSE,
        ranks=ranks,
        data_parallel=len(case.shares),
        rows=rows,
        seed=SEED,
        graphs=case.graphs,
    )
    engine.free_other_stages()
    return engine, rows


def run(case: Case, ranks: Ranks) -> Outcome:
    engine, rows = make_engine(case, ranks)
    with engine:
        numbers = train(case, engine, engine.model, rows)
        n_rows = engine.n_rows
        actions = measured_actions(case, engine, rows) if case.measured else []
        nonfinite = first_nonfinite_stages(case, engine, engine.model, rows)
    return Outcome({name: t.cpu() for name, t in numbers.items()}, nonfinite, actions, n_rows)


def measured_actions(case: Case, engine: ProcessEngine, rows: slice) -> list[list[str]]:
    """Take the last step once more; return, for each stage, what its measured times are of."""
    engine.measure = True
    engine.train_step(Windows(**case.batch(len(case.batch_sizes) - 1, rows)))
    timeline = engine.timeline
    assert timeline is not None
    return [
        [str(event.action) for event in timeline.stage_events(stage)]
        for stage in range(case.plan.n_stages)
    ]


def run_twisted(name: str, ranks: Ranks) -> Seen:
    """Train a model to which something was done before: one pipeline of two ranks, or two."""
    n_replicas = ranks.world_size // 2
    rows = [slice(None)] if n_replicas == 1 else [slice(0, 3), slice(3, 5)]
    own = rows[ranks.rank // 2]
    with twisted(name) as (model, seen):
        plan = make_plan([2, 2], "one_f_one_b", 2, 4)
        engine = ProcessEngine(model, plan, MSE, ranks=ranks, data_parallel=n_replicas, rows=own)
        engine.free_other_stages()
        with engine:
            return train_twisted(
                name,
                model,
                seen,
                lambda x, y, step: engine.train_step(Windows(x, y), step),
                own,
            )


def refusals(ranks: Ranks) -> dict[str, str]:
    """Ask for what ranks, or replicas, cannot do; return what each is told."""
    found = {}

    def note(name: str, model: StackModel) -> None:
        replicas = 1 if ranks.world_size == 2 else 2
        try:
            engine = ProcessEngine(
                model, make_plan([2, 2]), MSE, ranks=ranks, data_parallel=replicas
            )
            with engine:
                engine.train_step(Windows(*make_batch()))
        except UsageError as error:
            found[name] = str(error)

    if ranks.world_size == 2:
        for name in ACROSS_STAGES:
            with twisted(name) as (model, _):
                note(name, model)
        return found
    model = build_model()
    model.encoder = nn.Sequential(model.encoder, nn.Dropout(0.1))
    note("encoder", model)
    model = build_model()
    model.head.linear = nn.Sequential(nn.Dropout(0.1), model.head.linear)
    note("head", model)
    return found


def gradients_overlap(ranks: Ranks) -> list[bool]:
    """Hold the last B of stage 0 up until the gradients of stage 1 are on their way."""
    started = Event()
    seen: list[bool] = []
    exchange = dist.all_to_all_single

    def noted(*tensors: Tensor, **options: Any) -> Any:
        started.set()
        return exchange(*tensors, **options)

    n_micro_batches = OVERLAPPING.plan.grid.n_micro_batches

    def hold_up(cell: Cell) -> None:
        if cell == (n_micro_batches - 1, 0):
            seen.append(started.wait(OVERLAP_WITHIN_S))

    engine, rows = make_engine(OVERLAPPING, ranks)
    with (
        engine,
        before_each_back(engine.model, 0, hold_up),
        patch.object(dist, "all_to_all_single", noted),
    ):
        engine.train_step(Windows(**OVERLAPPING.batch(0, rows)))
    return seen


def ordered_sum() -> list[float]:
    """Add up, over all ranks, rows of one number each, whose sum depends on the order."""
    n_ranks = dist.get_world_size()
    row = torch.full((n_ranks * 1000,), TERMS[dist.get_rank()])
    adding = OrderedSum(row, None)
    adding.add()
    return sorted(set(adding.wait().tolist()))


def memory_of_a_large_model(ranks: Ranks) -> tuple[int, int, int]:
    """Build and train a quarter of a model.

    Returns:
        Bytes of the whole model's weights; by how much the memory of this process had grown at most
        when its own were there, and after a step.
    """
    plan = make_plan([LARGE_LAYERS // ranks.world_size] * ranks.world_size)
    before = peak_bytes()
    width = LARGE_HIDDEN
    model = StackModel(
        nn.Identity(),
        GRUStack(width, width, LARGE_LAYERS, kept_blocks=plan.stages[ranks.rank].blocks),
        WindowHead(width, (1, 1)),
    )
    engine = ProcessEngine(model, plan, MSE, ranks=ranks)
    engine.free_other_stages()
    built = peak_bytes() - before
    with engine:
        engine.train_step(Windows(torch.ones(1, 2, width), torch.ones(1, 1, 1))).backward()
    n_bytes = sum(weight.nbytes for weight in model.parameters())
    return n_bytes, built, peak_bytes() - before


def peak_bytes() -> int:
    """The most memory that this process has ever had, without that of the one it was started by."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def fail(ranks: Ranks, devices: tuple[str, str]) -> None:
    """Train one step more, in which stage 1 breaks on the last rank of two or of four.

    In a world of two it does in B, while the rank before waits for it. In one of four it does in F,
    while the rank before and a whole replica wait.
    """
    case = Case(devices=devices, shares=(5,) if ranks.world_size == 2 else (3, 2))
    engine, rows = make_engine(case, ranks)
    error = Broken("by hand")
    breaks: AbstractContextManager[None] = nullcontext()
    if ranks.rank == 1 and ranks.world_size == 2:
        breaks = failing_backward(engine.model, 2, (1, 1), error)
    elif ranks.rank == 3:
        # The second micro-batch here is the fourth of all replicas.
        breaks = failing_forward(engine.model, 2, (3, 1), error)
    with engine, breaks:
        engine.train_step(Windows(**case.batch(0, rows)))


def main_of_devices(folder: Path, kind: str) -> None:
    """Run the cases of one rank, or of two with a GPU each."""
    with join(launched(), timeout_s=TIMEOUT_S) as ranks:
        for name, case in (ALONE[kind] if ranks.world_size == 1 else TWO_GPUS).items():
            torch.save(run(case, ranks), path_of(folder, name, ranks.rank))
        print("failing")
        if ranks.world_size == 2:
            fail(ranks, ("cuda:0", "cuda:1"))


def launched() -> Launch:
    """Return what the launcher has told this process."""
    launch = Launch.from_environment()
    assert launch is not None
    return launch


def main(folder: Path, *, also_long: bool) -> None:
    """Run the cases of a world of CPUs."""
    with join(launched(), timeout_s=TIMEOUT_S) as ranks:
        n_ranks = ranks.world_size

        def keep(name: str, found: Any) -> None:
            torch.save(found, path_of(folder, name, ranks.rank))

        for name, case in CASES_OF_WORLD[n_ranks].items():
            if also_long or name not in LONG:
                with groups_end_here(ranks):
                    keep(name, run(case, ranks))
        for name in TWISTS_OF_WORLD[n_ranks] if also_long else ORDINARY_TWISTS[n_ranks]:
            with groups_end_here(ranks):
                keep(f"twist {name}", run_twisted(name, ranks))
        if n_ranks < 6:
            keep("refusals", refusals(ranks))
        if n_ranks == 2:
            keep("overlap", gradients_overlap(ranks))
        if n_ranks > 2:
            keep("ordered sum", ordered_sum())
        if n_ranks == 4:
            # The last: all that is imported and set up at a first step is there.
            keep("memory", memory_of_a_large_model(ranks))
        print("failing")
        if n_ranks < 6:
            fail(ranks, ("cpu:0", "cpu:1"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, *kinds = sys.argv[1:]
    if kinds in (["cpu"], ["cuda"]):
        main_of_devices(Path(folder), *kinds)
    else:
        main(Path(folder), also_long=kinds == ["long"])
