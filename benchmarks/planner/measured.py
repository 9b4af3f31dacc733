"""Plans one model by a profile made now, and measures the steps of all plans, in turns."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import torch

from benchmarks.batch import draw_batch
from benchmarks.model import make_model
from benchmarks.planner.cases import TriedPlan
from benchmarks.planner.numbers import PlanNumbers, ShapeNumbers
from benchmarks.shapes import Shape
from benchmarks.stopwatch import drop_gradients, timed
from gru_parallel.assembly.cluster import local_cluster
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import LOSSES, Windows
from gru_parallel.placement import ModelSpec, Plan, cut_stack
from gru_parallel.planning import Options, Planned, Problem, Workload, search
from gru_parallel.planning.analytic import AnalyticCosts
from gru_parallel.planning.options import chunks_up_to, micro_batches_up_to
from gru_parallel.planning.profile import MeasuredCosts
from gru_parallel.profiling.measure import measure
from gru_parallel.profiling.pipelines import Precision

N_ROUNDS_OF_PASS = 3
"""Steps of a plan one after the other; the next ones come much later."""
CORES = ("auto", "lean")


def measure_shape(shape: Shape, tried: Sequence[TriedPlan], n_rounds: int) -> ShapeNumbers:
    """Plan one model, and measure its plans.

    Args:
        shape: of the model.
        tried: plans beside the one that is chosen.
        n_rounds: in each of which every plan runs one step.
    """
    problem, analytic, profile_s = _plan(shape)
    best = search(problem).best.plan
    chosen = TriedPlan.of(best)
    plans = {each: each.plan(shape) for each in tried} | {chosen: best}
    steps = _run(shape, plans, n_rounds)
    return ShapeNumbers(
        shape,
        profile_s,
        tuple(
            PlanNumbers(
                each,
                _promised_ms(problem.planned(plan)),
                _promised_ms(analytic.planned(plan)),
                tuple(steps[each]),
            )
            for each, plan in plans.items()
        ),
        chosen,
    )


def _promised_ms(planned: Planned) -> float:
    """What a step is to take without its optimiser."""
    return planned.timeline.step_ms + planned.costs.step_ms(planned.cluster.devices[0], 0)


def _plan(shape: Shape) -> tuple[Problem, Problem, float]:
    """Say what is to be planned, by a profile and without one, and how long the profile took."""
    size = shape.hidden_size
    model = ModelSpec(cut_stack(size, size, shape.num_layers), n_outputs=1)
    workload = Workload(model, shape.batch_size, shape.n_steps)
    cluster = local_cluster(["cpu:0", "cpu:1"])
    start = perf_counter()
    profile = measure(
        workload,
        cluster,
        CORES,
        key={},
        precision=Precision(),
        make_optimizer=torch.optim.SGD,
    )
    profile_s = perf_counter() - start
    options = Options(
        1,
        ("one_f_one_b", "zero_bubble"),
        micro_batches_up_to(shape.batch_size),
        chunks_up_to(shape.n_steps),
        ("none", "cell"),
        CORES,
    )
    problem = Problem(workload, cluster, MeasuredCosts(profile, cluster), options)
    return problem, Problem(workload, cluster, AnalyticCosts(cluster), options), profile_s


def _run(shape: Shape, plans: dict[TriedPlan, Plan], n_rounds: int) -> dict[TriedPlan, list[float]]:
    """Run one plan after the other, as it would run alone, and again in later passes.

    Other guests of a shared host can slow a machine down for many seconds.
    """
    model = make_model(shape)
    steps: dict[TriedPlan, list[float]] = {each: [] for each in plans}
    for first in range(0, n_rounds, N_ROUNDS_OF_PASS):
        for each, plan in plans.items():
            own = make_model(shape, each.core)
            own.load_state_dict(model.state_dict())
            with ThreadEngine(own, plan, LOSSES["mse"]) as engine:
                _step(engine, shape)
                for _ in range(min(N_ROUNDS_OF_PASS, n_rounds - first)):
                    steps[each].append(_step(engine, shape))
    return steps


def _step(engine: ThreadEngine, shape: Shape) -> float:
    """Run a step, and return what it took."""
    x, y = draw_batch(shape)
    drop_gradients(engine.model.parameters())
    taken, _ = timed(lambda: engine.train_step(Windows(x, y)).backward())
    return taken
